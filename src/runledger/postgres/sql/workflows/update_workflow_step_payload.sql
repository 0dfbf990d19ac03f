-- Replace the payload of a step and, if it has one, of its job: while the step is BLOCKED or its job is PENDING.
-- Guard: the status of both. The caller holds the locks of the run and, where there is one, of the job. Without a row the
-- step is past that. Index: uq_workflow_steps_run_step_key; primary key.
WITH input AS (SELECT $1::jsonb AS doc),
step AS MATERIALIZED (
    SELECT s.id, s.job_id, coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS at
      FROM input CROSS JOIN LATERAL (
           SELECT s.id, s.status, s.job_id FROM {schema}.workflow_steps AS s
            WHERE s.workflow_run_id = (doc ->> 'run_id')::uuid AND s.step_key = doc ->> 'step_key' OFFSET 0) AS s
     WHERE CASE WHEN s.job_id IS NULL THEN s.status IN ('BLOCKED', 'WAITING_FOR_EXTERNAL')
                ELSE (SELECT q.status = 'PENDING' FROM {schema}.job_queue AS q WHERE q.id = s.job_id) END
),
updated_job AS (
    UPDATE {schema}.job_queue AS q
       SET payload = (SELECT doc -> 'payload' FROM input), updated_at = (SELECT at FROM step)
     WHERE q.id = ANY (ARRAY(SELECT job_id FROM step WHERE job_id IS NOT NULL))
),
updated_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET payload = (SELECT doc -> 'payload' FROM input), updated_at = (SELECT at FROM step)
     WHERE s.id = ANY (ARRAY(SELECT id FROM step))
)
SELECT id AS step_id FROM step
