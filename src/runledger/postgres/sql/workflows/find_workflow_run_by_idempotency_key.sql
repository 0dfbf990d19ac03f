-- The run that was enqueued with a key. `scope` is global or organization: each has keys of its own.
-- Index: the two unique indexes of keys, of which each branch names one by its condition on the organization.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT r.id AS run_id
  FROM {schema}.workflow_runs AS r
 WHERE (SELECT doc ->> 'scope' FROM input) = 'global' AND r.organization_id IS NULL
   AND r.workflow_type = (SELECT doc ->> 'workflow_type' FROM input)
   AND r.idempotency_key = (SELECT doc ->> 'idempotency_key' FROM input)
UNION ALL
SELECT r.id
  FROM {schema}.workflow_runs AS r
 WHERE (SELECT doc ->> 'scope' FROM input) = 'organization'
   AND r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input)
   AND r.workflow_type = (SELECT doc ->> 'workflow_type' FROM input)
   AND r.idempotency_key = (SELECT doc ->> 'idempotency_key' FROM input)
