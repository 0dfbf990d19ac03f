-- Record the failure of held jobs: LEASED -> PENDING with a delay, or -> DEAD_LETTERED.
-- Dead letter: the kind is TERMINAL or PANICKED, or no attempt is left (core.jobs.failure_decision is the model).
-- Guard, lock order and index: as complete_jobs. Each failure writes FAILED, then RETRY_SCHEDULED or DEAD_LETTERED.
-- The step of a workflow waits with its job for the next attempt: RUNNING -> ENQUEUED. What would become a dead letter
-- ends its step, so it is left alone and comes back with its run, as in complete_jobs, unless ends_steps.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, (doc ->> 'now')::timestamptz AS now,
           coalesce((doc ->> 'ends_steps')::boolean, false) AS ends_steps
      FROM input
),
locked AS MATERIALIZED (
    SELECT q.id, q.job_type, q.organization_id, q.status, q.worker_id, q.run_number, q.attempt, q.max_attempts,
           q.lease_expires_at, q.payload, q.checkpoint, q.workflow_step_id,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
       AND (q.workflow_step_id IS NULL OR (SELECT ends_steps FROM parameter)
            OR (q.attempt < q.max_attempts
                AND (SELECT jobs FROM parameter) -> q.id::text ->> 'kind' NOT IN ('TERMINAL', 'PANICKED')))
     ORDER BY q.id
       FOR NO KEY UPDATE SKIP LOCKED
),
timed AS (
    SELECT l.*, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at FROM locked AS l
),
passed AS MATERIALIZED (
    SELECT id, job_type, organization_id, run_number, attempt, payload, checkpoint, at, workflow_step_id,
           item ->> 'kind' AS kind, item ->> 'error_code' AS error_code, item ->> 'error_message' AS error_message,
           greatest(coalesce((item ->> 'retry_delay_ms')::integer, 0), 0) AS retry_delay_ms,
           item ->> 'kind' IN ('TERMINAL', 'PANICKED') OR attempt >= max_attempts AS is_dead_letter
      FROM timed
     WHERE status = 'LEASED'
       AND worker_id = (SELECT worker_id FROM parameter)
       AND run_number = (item ->> 'run_number')::integer
       AND attempt = (item ->> 'attempt')::integer
       AND lease_expires_at > at
),
retried AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'PENDING',
           next_run_at = (SELECT max(at) FROM passed) + greatest(
               coalesce(((SELECT jobs FROM parameter) -> q.id::text ->> 'retry_delay_ms')::double precision, 0), 0)
               * interval '1 millisecond',
           updated_at = (SELECT max(at) FROM passed),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = (SELECT jobs FROM parameter) -> q.id::text ->> 'kind',
           last_error_code = (SELECT jobs FROM parameter) -> q.id::text ->> 'error_code',
           last_error_message = (SELECT jobs FROM parameter) -> q.id::text ->> 'error_message'
     WHERE q.id = ANY (ARRAY(SELECT id FROM passed WHERE NOT is_dead_letter))
),
retried_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET status = 'ENQUEUED',
           status_reason = (SELECT jobs FROM parameter) -> s.job_id::text ->> 'kind',
           last_error_code = (SELECT jobs FROM parameter) -> s.job_id::text ->> 'error_code',
           last_error_message = (SELECT jobs FROM parameter) -> s.job_id::text ->> 'error_message',
           updated_at = (SELECT max(at) FROM passed)
     WHERE s.id = ANY (ARRAY(SELECT workflow_step_id FROM passed WHERE NOT is_dead_letter AND workflow_step_id IS NOT NULL))
),
dead_lettered AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'DEAD_LETTERED',
           finished_at = (SELECT max(at) FROM passed),
           updated_at = (SELECT max(at) FROM passed),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = (SELECT jobs FROM parameter) -> q.id::text ->> 'kind',
           last_error_code = (SELECT jobs FROM parameter) -> q.id::text ->> 'error_code',
           last_error_message = (SELECT jobs FROM parameter) -> q.id::text ->> 'error_message'
     WHERE q.id = ANY (ARRAY(SELECT id FROM passed WHERE is_dead_letter))
),
dead_letter AS (
    INSERT INTO {schema}.job_dead_letters AS d
           (job_id, job_type, organization_id, run_number, attempt, error_code, error_message,
            payload_snapshot, checkpoint_snapshot, failed_at)
    SELECT id, job_type, organization_id, run_number, attempt, error_code, error_message, payload, checkpoint, at
      FROM passed
     WHERE is_dead_letter
     ORDER BY id
        ON CONFLICT (job_id) DO UPDATE
       SET run_number = excluded.run_number, attempt = excluded.attempt,
           error_code = excluded.error_code, error_message = excluded.error_message,
           payload_snapshot = excluded.payload_snapshot, checkpoint_snapshot = excluded.checkpoint_snapshot,
           failed_at = excluded.failed_at
),
closed_retried_attempt AS (
    UPDATE {schema}.job_attempts AS a
       SET finished_at = (SELECT max(at) FROM passed),
           outcome = ((SELECT jobs FROM parameter) -> a.job_id::text ->> 'kind')::{schema}.job_failure_kind,
           error_code = (SELECT jobs FROM parameter) -> a.job_id::text ->> 'error_code',
           error_message = (SELECT jobs FROM parameter) -> a.job_id::text ->> 'error_message',
           retry_delay_ms = greatest(
               coalesce(((SELECT jobs FROM parameter) -> a.job_id::text ->> 'retry_delay_ms')::integer, 0), 0)
     WHERE a.job_id = ANY (ARRAY(SELECT id FROM passed WHERE NOT is_dead_letter)) AND a.finished_at IS NULL
),
closed_last_attempt AS (
    UPDATE {schema}.job_attempts AS a
       SET finished_at = (SELECT max(at) FROM passed),
           outcome = ((SELECT jobs FROM parameter) -> a.job_id::text ->> 'kind')::{schema}.job_failure_kind,
           error_code = (SELECT jobs FROM parameter) -> a.job_id::text ->> 'error_code',
           error_message = (SELECT jobs FROM parameter) -> a.job_id::text ->> 'error_message'
     WHERE a.job_id = ANY (ARRAY(SELECT id FROM passed WHERE is_dead_letter)) AND a.finished_at IS NULL
),
event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT p.id, p.run_number, p.attempt, e.event_type::{schema}.job_event_type, e.payload, p.at
      FROM passed AS p
     CROSS JOIN LATERAL (VALUES
           (1, 'FAILED', jsonb_build_object(
               'kind', p.kind, 'error_code', p.error_code, 'error_message', p.error_message)),
           (2, CASE WHEN p.is_dead_letter THEN 'DEAD_LETTERED' ELSE 'RETRY_SCHEDULED' END,
               CASE WHEN p.is_dead_letter
                    THEN jsonb_build_object('kind', p.kind, 'error_code', p.error_code)
                    ELSE jsonb_build_object(
                        'retry_delay_ms', p.retry_delay_ms,
                        'next_run_at', to_char(
                   ((SELECT max(at) FROM passed) + p.retry_delay_ms::double precision * interval '1 millisecond')
                       AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
               END)) AS e (position, event_type, payload)
     ORDER BY p.id, e.position
)
SELECT p.id AS job_id, p.is_dead_letter, p.workflow_step_id, NULL::uuid AS workflow_run_id
  FROM passed AS p
 UNION ALL
SELECT q.id, NULL, s.id, s.workflow_run_id
  FROM {schema}.job_queue AS q
  CROSS JOIN LATERAL (
       SELECT s.id, s.workflow_run_id FROM {schema}.workflow_steps AS s WHERE s.id = q.workflow_step_id OFFSET 0) AS s
 WHERE NOT (SELECT ends_steps FROM parameter)
   AND q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
   AND (q.attempt >= q.max_attempts
        OR (SELECT jobs FROM parameter) -> q.id::text ->> 'kind' IN ('TERMINAL', 'PANICKED'))
