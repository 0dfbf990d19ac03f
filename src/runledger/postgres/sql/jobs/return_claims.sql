-- Give back claims whose handler was never called: LEASED -> PENDING, the attempt deleted and not consumed. The step of a
-- workflow waits with its job again: RUNNING -> ENQUEUED.
-- Guard, lock order and index: as complete_jobs. Only the holder knows that the handler was not called.
-- The claim of a built-in worker writes stage `running`; the stage of before is that of the ENQUEUED event for
-- the first attempt of the first run, `queued` for that of a later run, and was `running` for a later attempt.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, (doc ->> 'now')::timestamptz AS now FROM input
),
locked AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at, q.workflow_step_id,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
     ORDER BY q.id
       FOR NO KEY UPDATE SKIP LOCKED
),
timed AS (
    SELECT l.*, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at FROM locked AS l
),
passed AS MATERIALIZED (
    SELECT id, run_number, attempt, at, workflow_step_id
      FROM timed
     WHERE status = 'LEASED'
       AND worker_id = (SELECT worker_id FROM parameter)
       AND run_number = (item ->> 'run_number')::integer
       AND attempt = (item ->> 'attempt')::integer
       AND lease_expires_at > at
),
returned AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'PENDING',
           attempt = q.attempt - 1,
           next_run_at = (SELECT max(at) FROM passed)
               + (SELECT greatest((doc ->> 'retry_delay_ms')::double precision, 0) FROM input) * interval '1 millisecond',
           started_at = CASE WHEN q.attempt = 1 THEN NULL ELSE q.started_at END,
           stage = CASE WHEN q.attempt > 1 THEN q.stage
                        WHEN q.run_number > 1 THEN 'queued'
                        ELSE coalesce((SELECT e.stage FROM {schema}.job_events AS e
                                        WHERE e.job_id = q.id AND e.event_type = 'ENQUEUED'
                                        ORDER BY e.id LIMIT 1), 'queued') END,
           updated_at = (SELECT max(at) FROM passed),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = NULL, last_error_code = NULL, last_error_message = NULL
     WHERE q.id = ANY (ARRAY(SELECT id FROM passed))
),
returned_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET status = 'ENQUEUED',
           started_at = CASE WHEN s.id = ANY (ARRAY(SELECT workflow_step_id FROM passed WHERE attempt = 1)) THEN NULL
                             ELSE s.started_at END,
           updated_at = (SELECT max(at) FROM passed)
     WHERE s.id = ANY (ARRAY(SELECT workflow_step_id FROM passed WHERE workflow_step_id IS NOT NULL))
),
deleted_attempt AS (
    DELETE FROM {schema}.job_attempts
     WHERE job_id = ANY (ARRAY(SELECT id FROM passed)) AND finished_at IS NULL
),
requeued_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT p.id, p.run_number, p.attempt, 'REQUEUED',
           jsonb_build_object('reason', (SELECT doc -> 'reason' FROM input)), p.at
      FROM passed AS p
     ORDER BY p.id
)
SELECT id AS job_id FROM passed
