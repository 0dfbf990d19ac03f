-- Find the job that was enqueued with a key. `scope` is global or organization: each has keys of its own.
-- Index: the two unique indexes of keys.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id
  FROM {schema}.job_queue AS q
 WHERE (SELECT doc ->> 'scope' FROM input) = 'global' AND q.organization_id IS NULL
   AND q.job_type = (SELECT doc ->> 'job_type' FROM input)
   AND q.idempotency_key = (SELECT doc ->> 'idempotency_key' FROM input)
UNION ALL
SELECT q.id
  FROM {schema}.job_queue AS q
 WHERE (SELECT doc ->> 'scope' FROM input) = 'organization'
   AND q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input)
   AND q.job_type = (SELECT doc ->> 'job_type' FROM input)
   AND q.idempotency_key = (SELECT doc ->> 'idempotency_key' FROM input)
