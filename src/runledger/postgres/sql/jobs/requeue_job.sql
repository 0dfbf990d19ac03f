-- Requeue one job: SUCCEEDED, DEAD_LETTERED or CANCELED -> PENDING, as a new run that is due at once. One REQUEUED
-- event, which belongs to the run that it ends. The dead letter stays, and so does the window of a canceled lease.
-- keeps_progress: the new run starts with the counts and the checkpoint of the old one.
-- notifies: tell workers, in this transaction; else the notice comes back, for whoever commits.
-- Guard: the status, and that no workflow manages the job. The caller holds the lock of the row (lock_job_in_scope).
-- Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'job_id')::uuid AS job_id, coalesce(doc ->> 'reason', 'REQUEUED') AS reason,
           (doc ->> 'keeps_progress')::boolean AS keeps_progress, (doc ->> 'now')::timestamptz AS now,
           (doc ->> 'notifies')::boolean AS notifies
      FROM input
),
job AS MATERIALIZED (
    SELECT q.id, q.job_type, q.run_number, q.attempt, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at
      FROM {schema}.job_queue AS q
     WHERE q.id = (SELECT job_id FROM parameter)
       AND q.status IN ('SUCCEEDED', 'DEAD_LETTERED', 'CANCELED')
       AND q.workflow_step_id IS NULL
),
requeued AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'PENDING',
           run_number = q.run_number + 1,
           attempt = 0,
           stage = 'queued',
           progress_done = CASE WHEN (SELECT keeps_progress FROM parameter) THEN q.progress_done END,
           progress_total = CASE WHEN (SELECT keeps_progress FROM parameter) THEN q.progress_total END,
           checkpoint = CASE WHEN (SELECT keeps_progress FROM parameter) THEN q.checkpoint END,
           output = NULL,
           next_run_at = (SELECT at FROM job),
           updated_at = (SELECT at FROM job),
           started_at = NULL, finished_at = NULL,
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = (SELECT reason FROM parameter),
           last_error_code = NULL, last_error_message = NULL
     WHERE q.id = ANY (ARRAY(SELECT id FROM job))
),
requeued_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT j.id, j.run_number, nullif(j.attempt, 0), 'REQUEUED', jsonb_build_object('reason', p.reason), j.at
      FROM job AS j, parameter AS p
),
wake_up AS MATERIALIZED (
    SELECT id, jsonb_build_object('job_types', jsonb_build_array(job_type), 'due_at', at, 'delay_ms', 0)::text AS notice
      FROM job
)
SELECT w.id AS job_id, w.notice,
       CASE WHEN p.notifies THEN pg_notify({channel}, w.notice) IS NOT NULL END AS is_notified
  FROM wake_up AS w, parameter AS p
