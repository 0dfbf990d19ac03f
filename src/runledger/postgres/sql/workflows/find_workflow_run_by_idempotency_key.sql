-- The run that was enqueued with a key, in its scope. Index: the two unique indexes of keys.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT r.id AS run_id
  FROM {schema}.workflow_runs AS r
 WHERE r.workflow_type = (SELECT doc ->> 'workflow_type' FROM input)
   AND r.idempotency_key = (SELECT doc ->> 'idempotency_key' FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'global' THEN r.organization_id IS NULL
            ELSE r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
