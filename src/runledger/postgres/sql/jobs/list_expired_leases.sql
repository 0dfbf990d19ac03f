-- The oldest expired leases, for the reaper. Rows that somebody else has locked are skipped here already: a full
-- batch of them would hide the free ones behind. reap_jobs judges again.
-- A job of a workflow without an attempt left comes with its run, which has to be locked before it ends. Those of runs that
-- the caller did not get (busy_run_ids) are passed over, for the same reason, as is what it has already (taken_job_ids).
-- Index: idx_job_queue_leased_expiry.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT coalesce((doc ->> 'now')::timestamptz, statement_timestamp()) AS at,
           ARRAY(SELECT jsonb_array_elements_text(doc -> 'busy_run_ids')::uuid) AS busy_run_ids,
           ARRAY(SELECT jsonb_array_elements_text(doc -> 'taken_job_ids')::uuid) AS taken_job_ids
      FROM input
)
SELECT q.id AS job_id,
       CASE WHEN q.attempt >= q.max_attempts
            THEN (SELECT s.workflow_run_id FROM {schema}.workflow_steps AS s WHERE s.id = q.workflow_step_id)
            END AS workflow_run_id
  FROM {schema}.job_queue AS q
 WHERE q.status = 'LEASED'
   AND q.lease_expires_at < (SELECT at FROM parameter)
   AND q.id <> ALL ((SELECT taken_job_ids FROM parameter)::uuid[])
   AND (q.attempt < q.max_attempts OR q.workflow_step_id IS NULL
        OR coalesce((SELECT s.workflow_run_id FROM {schema}.workflow_steps AS s WHERE s.id = q.workflow_step_id)
                    <> ALL ((SELECT busy_run_ids FROM parameter)::uuid[]), true))
 ORDER BY q.lease_expires_at
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
   FOR NO KEY UPDATE SKIP LOCKED
