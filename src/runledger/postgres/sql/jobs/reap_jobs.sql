-- Take expired leases away from their workers, for the ids given: LEASED -> PENDING or DEAD_LETTERED.
--   released       the worker claimed but never started: the attempt is deleted and not consumed
--   dead-lettered  no attempt is left
--   retried        otherwise, after the reaper's delay
-- The step of a workflow waits with its job: RUNNING -> ENQUEUED. A dead letter ends its step: such a job is passed only
-- under the lock of its run (ends_steps), and the caller goes on with end_workflow_steps. A link to a step that is not there
-- (somebody disabled the triggers that remove it) is none: else such jobs would fill the reaper's window for ever.
-- Guard: still LEASED and expired once the row lock is held. Lock order: job rows by id, SKIP LOCKED, so several
-- reapers share the work. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT greatest((doc ->> 'retry_delay_ms')::integer, 0) AS retry_delay_ms,
           (doc ->> 'now')::timestamptz AS now,
           coalesce((doc ->> 'ends_steps')::boolean, false) AS ends_steps,
           'job.lease_expired' AS error_code,
           'the lease expired before the job was completed' AS error_message
      FROM input
),
locked AS MATERIALIZED (
    SELECT q.id, q.job_type, q.organization_id, q.status, q.worker_id, q.run_number, q.attempt, q.max_attempts,
           q.lease_expires_at, q.last_heartbeat_at, q.payload, q.checkpoint, q.workflow_step_id
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_ids')::uuid FROM input))
     ORDER BY q.id
       FOR NO KEY UPDATE SKIP LOCKED
),
timed AS (
    SELECT l.*, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at FROM locked AS l
),
expired AS MATERIALIZED (
    SELECT t.id, t.job_type, t.organization_id, t.worker_id, t.run_number, t.attempt, t.max_attempts, t.payload,
           t.checkpoint, t.at, t.workflow_step_id,
           CASE WHEN a.claim_origin = 'WORKER_PRESTART' AND a.execution_started_persisted_at IS NULL THEN 'RELEASE'
                WHEN t.attempt >= t.max_attempts THEN 'DEAD_LETTER'
                ELSE 'RETRY' END AS action,
           coalesce(t.last_heartbeat_at <= a.execution_started_persisted_at, false)
               AS started_without_renewal_heartbeat
      FROM timed AS t
      LEFT JOIN LATERAL (
           SELECT a.claim_origin, a.execution_started_persisted_at
             FROM {schema}.job_attempts AS a
            WHERE a.job_id = t.id AND a.run_number = t.run_number AND a.attempt = t.attempt) AS a ON true
     WHERE t.status = 'LEASED' AND t.lease_expires_at < t.at
       AND (t.workflow_step_id IS NULL OR t.attempt < t.max_attempts OR (SELECT ends_steps FROM parameter)
            OR (SELECT s.id FROM {schema}.workflow_steps AS s WHERE s.id = t.workflow_step_id) IS NULL
            OR (a.claim_origin = 'WORKER_PRESTART' AND a.execution_started_persisted_at IS NULL))
),
released AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'PENDING',
           attempt = q.attempt - 1,
           next_run_at = (SELECT max(at) FROM expired),
           started_at = CASE WHEN q.attempt = 1 THEN NULL ELSE q.started_at END,
           updated_at = (SELECT max(at) FROM expired),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = NULL, last_error_code = NULL, last_error_message = NULL
     WHERE q.id = ANY (ARRAY(SELECT id FROM expired WHERE action = 'RELEASE'))
),
retried AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'PENDING',
           next_run_at = (SELECT max(at) FROM expired)
               + (SELECT retry_delay_ms FROM parameter)::double precision * interval '1 millisecond',
           updated_at = (SELECT max(at) FROM expired),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = 'LEASE_EXPIRED',
           last_error_code = (SELECT error_code FROM parameter),
           last_error_message = (SELECT error_message FROM parameter)
     WHERE q.id = ANY (ARRAY(SELECT id FROM expired WHERE action = 'RETRY'))
),
moved_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET (status, started_at, status_reason, last_error_code, last_error_message, updated_at) = (
           SELECT 'ENQUEUED'::{schema}.workflow_step_status,
                  CASE WHEN e.action = 'RELEASE' AND e.attempt = 1 THEN NULL ELSE s.started_at END,
                  CASE WHEN e.action = 'RETRY' THEN 'LEASE_EXPIRED' ELSE s.status_reason END,
                  CASE WHEN e.action = 'RETRY' THEN p.error_code ELSE s.last_error_code END,
                  CASE WHEN e.action = 'RETRY' THEN p.error_message ELSE s.last_error_message END,
                  e.at
             FROM expired AS e, parameter AS p
            WHERE e.workflow_step_id = s.id)
     WHERE s.id = ANY (ARRAY(SELECT workflow_step_id FROM expired
                              WHERE action IN ('RELEASE', 'RETRY') AND workflow_step_id IS NOT NULL))
),
dead_lettered AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'DEAD_LETTERED',
           finished_at = (SELECT max(at) FROM expired),
           updated_at = (SELECT max(at) FROM expired),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = 'LEASE_EXPIRED',
           last_error_code = (SELECT error_code FROM parameter),
           last_error_message = (SELECT error_message FROM parameter)
     WHERE q.id = ANY (ARRAY(SELECT id FROM expired WHERE action = 'DEAD_LETTER'))
),
dead_letter AS (
    INSERT INTO {schema}.job_dead_letters AS d
           (job_id, job_type, organization_id, run_number, attempt, error_code, error_message,
            payload_snapshot, checkpoint_snapshot, failed_at)
    SELECT e.id, e.job_type, e.organization_id, e.run_number, e.attempt, p.error_code, p.error_message,
           e.payload, e.checkpoint, e.at
      FROM expired AS e, parameter AS p
     WHERE e.action = 'DEAD_LETTER'
     ORDER BY e.id
        ON CONFLICT (job_id) DO UPDATE
       SET run_number = excluded.run_number, attempt = excluded.attempt,
           error_code = excluded.error_code, error_message = excluded.error_message,
           payload_snapshot = excluded.payload_snapshot, checkpoint_snapshot = excluded.checkpoint_snapshot,
           failed_at = excluded.failed_at
),
deleted_attempt AS (
    DELETE FROM {schema}.job_attempts
     WHERE job_id = ANY (ARRAY(SELECT id FROM expired WHERE action = 'RELEASE')) AND finished_at IS NULL
),
closed_retried_attempt AS (
    UPDATE {schema}.job_attempts
       SET finished_at = (SELECT max(at) FROM expired),
           outcome = 'LEASE_EXPIRED',
           error_code = (SELECT error_code FROM parameter),
           error_message = (SELECT error_message FROM parameter),
           retry_delay_ms = (SELECT retry_delay_ms FROM parameter)
     WHERE job_id = ANY (ARRAY(SELECT id FROM expired WHERE action = 'RETRY')) AND finished_at IS NULL
),
closed_last_attempt AS (
    UPDATE {schema}.job_attempts
       SET finished_at = (SELECT max(at) FROM expired),
           outcome = 'LEASE_EXPIRED',
           error_code = (SELECT error_code FROM parameter),
           error_message = (SELECT error_message FROM parameter)
     WHERE job_id = ANY (ARRAY(SELECT id FROM expired WHERE action = 'DEAD_LETTER')) AND finished_at IS NULL
),
event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT e.id, e.run_number, e.attempt, v.event_type::{schema}.job_event_type, v.payload, e.at
      FROM expired AS e
     CROSS JOIN parameter AS p
     CROSS JOIN LATERAL (VALUES
           ('RELEASE', 1, 'REQUEUED', jsonb_build_object('reason', 'LEASE_EXPIRED_BEFORE_RUNNING_PERSISTED')),
           ('RETRY', 1, 'FAILED', jsonb_build_object(
               'kind', 'LEASE_EXPIRED', 'error_code', p.error_code, 'error_message', p.error_message,
               'started_without_renewal_heartbeat', e.started_without_renewal_heartbeat)),
           ('RETRY', 2, 'RETRY_SCHEDULED', jsonb_build_object(
               'kind', 'LEASE_EXPIRED', 'retry_delay_ms', p.retry_delay_ms,
               'next_run_at', to_char(
                   ((SELECT max(at) FROM expired) + p.retry_delay_ms::double precision * interval '1 millisecond')
                       AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'started_without_renewal_heartbeat', e.started_without_renewal_heartbeat)),
           ('DEAD_LETTER', 1, 'FAILED', jsonb_build_object(
               'kind', 'LEASE_EXPIRED', 'error_code', p.error_code, 'error_message', p.error_message,
               'started_without_renewal_heartbeat', e.started_without_renewal_heartbeat)),
           ('DEAD_LETTER', 2, 'DEAD_LETTERED', jsonb_build_object(
               'kind', 'LEASE_EXPIRED', 'error_code', p.error_code,
               'started_without_renewal_heartbeat', e.started_without_renewal_heartbeat))
           ) AS v (action, position, event_type, payload)
     WHERE v.action = e.action
     ORDER BY e.id, v.position
)
SELECT e.id AS job_id, e.job_type, e.organization_id, e.worker_id, e.run_number, e.attempt, e.max_attempts, e.action,
       e.workflow_step_id, s.workflow_run_id, s.step_key AS workflow_step_key,
       CASE WHEN e.action = 'DEAD_LETTER' THEN e.payload::text END AS payload_json
  FROM expired AS e
  LEFT JOIN LATERAL (
       SELECT w.workflow_run_id, w.step_key FROM {schema}.workflow_steps AS w WHERE w.id = e.workflow_step_id) AS s
    ON true
