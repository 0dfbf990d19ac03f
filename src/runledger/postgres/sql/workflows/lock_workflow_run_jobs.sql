-- Wait for the locks of the jobs of a run that have not ended. Meanwhile they may be claimed, fail and be tried again, but
-- not end: the caller holds the lock of the run (lock_workflow_runs), and what it reads in its next statement holds.
-- Lock order: job rows by id, after the run. Index: uq_workflow_steps_run_step_id; primary key.
WITH input AS (SELECT $1::jsonb AS doc),
locked AS MATERIALIZED (
    SELECT q.id
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(
           SELECT s.job_id FROM {schema}.workflow_steps AS s
            WHERE s.workflow_run_id = (SELECT (doc ->> 'run_id')::uuid FROM input)
              AND s.status IN ('ENQUEUED', 'RUNNING') AND s.job_id IS NOT NULL))
     ORDER BY q.id
       FOR NO KEY UPDATE
)
SELECT count(*) AS job_count FROM locked
