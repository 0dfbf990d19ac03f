-- The oldest expired leases, for the reaper. Rows that somebody else has locked are skipped here already: a full
-- batch of them would hide the free ones behind. reap_jobs judges again.
-- A job of a workflow without an attempt left comes with its run, which has to be locked before it ends.
-- Index: idx_job_queue_leased_expiry.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id,
       CASE WHEN q.attempt >= q.max_attempts
            THEN (SELECT s.workflow_run_id FROM {schema}.workflow_steps AS s WHERE s.id = q.workflow_step_id)
            END AS workflow_run_id
  FROM {schema}.job_queue AS q
 WHERE q.status = 'LEASED'
   AND q.lease_expires_at < coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
 ORDER BY q.lease_expires_at
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
   FOR NO KEY UPDATE SKIP LOCKED
