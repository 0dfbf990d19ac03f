-- Keyed rows from before the snapshots of their requests. Each count is served by its partial index, which holds these
-- rows and no others: idx_job_queue_missing_enqueue_request_snapshot and the same of workflow_runs.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT (SELECT count(*) FROM {schema}.job_queue AS q
         WHERE q.idempotency_key IS NOT NULL AND q.enqueue_request IS NULL) AS job_count,
       (SELECT count(*) FROM {schema}.workflow_runs AS r
         WHERE r.idempotency_key IS NOT NULL AND r.enqueue_request IS NULL) AS workflow_count
  FROM input
