-- Wait for the lock of the job of one step, under the lock of its run. The wait is bounded, and the setting of the
-- transaction put back, as in lock_workflow_runs.
-- Lock order: job rows, after the run. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
bound AS MATERIALIZED (
    SELECT former,
           (doc ->> 'lock_timeout_ms')::integer AS bound_ms,
           (1000 * extract(epoch FROM former::interval))::integer AS former_ms,
           (doc ->> 'job_id')::uuid AS job_id
      FROM input CROSS JOIN current_setting('lock_timeout') AS former
),
parameter AS MATERIALIZED (
    SELECT former, job_id,
           set_config('lock_timeout',
                      CASE WHEN former_ms > 0 AND former_ms <= bound_ms THEN former ELSE bound_ms::text END,
                      true) AS lock_timeout
      FROM bound
),
locked AS MATERIALIZED (
    SELECT q.id
      FROM {schema}.job_queue AS q
     WHERE q.id = (SELECT job_id FROM parameter)
       FOR NO KEY UPDATE
)
-- Counted first: the lock is held before the setting is put back.
SELECT count(*) AS job_count, set_config('lock_timeout', (SELECT former FROM parameter), true) AS lock_timeout
  FROM locked
