-- The checks on keyed rows that hold for new rows and were not validated for those that were there before.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT c.conname::text AS constraint_name
  FROM input
  JOIN pg_catalog.pg_constraint AS c
    ON c.connamespace = to_regnamespace('{schema}')
   AND c.conname IN ('ck_job_queue_idempotency_enqueue_request', 'ck_workflow_runs_idempotency_enqueue_request')
   AND NOT c.convalidated
