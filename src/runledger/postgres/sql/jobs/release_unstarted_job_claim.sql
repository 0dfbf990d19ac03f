-- Release one claim whose start was not recorded: LEASED -> PENDING, the attempt deleted and not consumed, one
-- REQUEUED event on the released attempt, and the step of a workflow RUNNING -> ENQUEUED. For hosts that queue what they claim; the built-in worker starts what it
-- claims and uses return_claims.
-- Guard: the lease, as complete_jobs, and an attempt of origin WORKER_PRESTART without started marker. The row comes
-- back with what became of it. The caller holds its lock (lock_job). Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, doc ->> 'reason' AS reason,
           greatest((doc ->> 'retry_delay_ms')::double precision, 0) AS retry_delay_ms,
           (doc ->> 'now')::timestamptz AS now
      FROM input
),
job AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at, q.workflow_step_id,
           (SELECT jobs FROM parameter) -> q.id::text AS item,
           coalesce((SELECT now FROM parameter), clock_timestamp()) AS at
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
),
judged AS MATERIALIZED (
    SELECT j.id, j.run_number, j.attempt, j.at, j.workflow_step_id,
           CASE WHEN j.status <> 'LEASED' THEN 'NOT_LEASED'
                WHEN (j.worker_id = (SELECT worker_id FROM parameter)
                      AND j.run_number = (j.item ->> 'run_number')::integer
                      AND j.attempt = (j.item ->> 'attempt')::integer
                      AND j.lease_expires_at > j.at) IS NOT TRUE THEN 'NOT_HELD'
                -- Not EXISTS: the planner may hash the whole table for one.
                WHEN (SELECT a.claim_origin = 'WORKER_PRESTART' AND a.execution_started_persisted_at IS NULL
                        FROM {schema}.job_attempts AS a
                       WHERE a.job_id = j.id AND a.run_number = j.run_number AND a.attempt = j.attempt)
                THEN 'RELEASED'
                ELSE 'STARTED' END AS verdict
      FROM job AS j
),
released AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'PENDING',
           attempt = q.attempt - 1,
           next_run_at = (SELECT max(at) FROM judged)
               + (SELECT retry_delay_ms FROM parameter) * interval '1 millisecond',
           started_at = CASE WHEN q.attempt = 1 THEN NULL ELSE q.started_at END,
           updated_at = (SELECT max(at) FROM judged),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = NULL, last_error_code = NULL, last_error_message = NULL
     WHERE q.id = ANY (ARRAY(SELECT id FROM judged WHERE verdict = 'RELEASED'))
),
released_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET status = 'ENQUEUED',
           started_at = CASE WHEN (SELECT max(attempt) FROM judged) = 1 THEN NULL ELSE s.started_at END,
           updated_at = (SELECT max(at) FROM judged)
     WHERE s.id = ANY (ARRAY(SELECT workflow_step_id FROM judged
                              WHERE verdict = 'RELEASED' AND workflow_step_id IS NOT NULL))
),
deleted_attempt AS (
    DELETE FROM {schema}.job_attempts
     WHERE job_id = ANY (ARRAY(SELECT id FROM judged WHERE verdict = 'RELEASED')) AND finished_at IS NULL
),
requeued_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT j.id, j.run_number, j.attempt, 'REQUEUED', jsonb_build_object('reason', p.reason), j.at
      FROM judged AS j, parameter AS p
     WHERE j.verdict = 'RELEASED'
)
SELECT verdict FROM judged
