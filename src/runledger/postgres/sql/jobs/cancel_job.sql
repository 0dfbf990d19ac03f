-- Cancel one job: PENDING or LEASED -> CANCELED, an open attempt closed without outcome, one CANCELED event.
-- The end of a lease that is cut short is kept apart: until then its handler may still run (compare-and-requeue waits
-- for it). The latest such end counts, also that of an earlier run.
-- notifies: tell the worker that holds it, in this transaction; else the notice comes back, for whoever commits.
-- Guard: the status. The caller holds the lock of the row (lock_job_in_scope). For the job of a workflow it took the lock
-- of the run before and goes on with end_workflow_steps. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'job_id')::uuid AS job_id, coalesce(doc ->> 'reason', 'CANCELED') AS reason,
           (doc ->> 'now')::timestamptz AS now, (doc ->> 'notifies')::boolean AS notifies
      FROM input
),
job AS MATERIALIZED (
    SELECT q.id, q.status, q.run_number, q.attempt, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at
      FROM {schema}.job_queue AS q
     WHERE q.id = (SELECT job_id FROM parameter)
       AND q.status IN ('PENDING', 'LEASED')
),
canceled AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'CANCELED',
           canceled_lease_expires_at = greatest(q.canceled_lease_expires_at, q.lease_expires_at),
           finished_at = (SELECT at FROM job),
           updated_at = (SELECT at FROM job),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = (SELECT reason FROM parameter)
     WHERE q.id = ANY (ARRAY(SELECT id FROM job))
),
closed_attempt AS (
    UPDATE {schema}.job_attempts
       SET finished_at = (SELECT at FROM job)
     WHERE job_id = ANY (ARRAY(SELECT id FROM job)) AND finished_at IS NULL
),
canceled_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT j.id, j.run_number, nullif(j.attempt, 0), 'CANCELED', jsonb_build_object('reason', p.reason), j.at
      FROM job AS j, parameter AS p
),
cancellation AS MATERIALIZED (
    SELECT id, CASE WHEN status = 'LEASED' THEN jsonb_build_object('canceled', jsonb_build_array(id))::text END AS notice
      FROM job
)
SELECT c.id AS job_id, c.notice,
       CASE WHEN p.notifies AND c.notice IS NOT NULL THEN pg_notify({channel}, c.notice) IS NOT NULL END AS is_notified
  FROM cancellation AS c, parameter AS p
