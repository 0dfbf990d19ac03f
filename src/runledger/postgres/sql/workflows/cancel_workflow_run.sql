-- Cancel a run: every step that has not ended becomes CANCELED, with its job, and the run with them. Nothing is released.
-- Guard: the caller holds the locks of the run and of its jobs (lock_workflow_run_jobs). Where a step says that it has a
-- job and there is none to cancel, nothing is written and inconsistent_count says so.
-- Counters end as the edges say: nothing is pending, and unsatisfied are the ON_SUCCESS edges from steps without success.
-- One row comes back for each notice about held jobs, at least one in all. notifies: tell their workers, and who waits for
-- the run, in this transaction; else whoever commits does.
-- Index: uq_workflow_steps_run_step_id; primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'run_id')::uuid AS run_id, coalesce(doc ->> 'reason', 'CANCELED') AS reason,
           doc ->> 'error_code' AS error_code, doc ->> 'error_message' AS error_message,
           coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS at,
           coalesce((doc ->> 'notifies')::boolean, false) AS notifies
      FROM input
),
open_step AS MATERIALIZED (
    SELECT s.id, s.status, s.job_id
      FROM {schema}.workflow_steps AS s
     WHERE s.workflow_run_id = (SELECT run_id FROM parameter)
       AND s.status IN ('BLOCKED', 'WAITING_FOR_EXTERNAL', 'ENQUEUED', 'RUNNING')
),
job AS MATERIALIZED (
    SELECT q.id, q.status, q.run_number, q.attempt
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT job_id FROM open_step WHERE job_id IS NOT NULL))
       AND q.status IN ('PENDING', 'LEASED')
),
inconsistent AS MATERIALIZED (
    SELECT count(*) AS step_count
      FROM open_step AS s
     WHERE s.status IN ('ENQUEUED', 'RUNNING') AND (s.job_id IS NULL OR s.job_id NOT IN (SELECT id FROM job))
),
canceled_job AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'CANCELED',
           canceled_lease_expires_at = greatest(q.canceled_lease_expires_at, q.lease_expires_at),
           finished_at = (SELECT at FROM parameter),
           updated_at = (SELECT at FROM parameter),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = (SELECT reason FROM parameter)
     WHERE q.id = ANY (ARRAY(SELECT id FROM job)) AND (SELECT step_count FROM inconsistent) = 0
),
closed_attempt AS (
    UPDATE {schema}.job_attempts
       SET finished_at = (SELECT at FROM parameter)
     WHERE job_id = ANY (ARRAY(SELECT id FROM job)) AND finished_at IS NULL
       AND (SELECT step_count FROM inconsistent) = 0
),
canceled_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT j.id, j.run_number, nullif(j.attempt, 0), 'CANCELED', jsonb_build_object('reason', p.reason), p.at
      FROM job AS j, parameter AS p
     WHERE (SELECT step_count FROM inconsistent) = 0
     ORDER BY j.id
),
unsatisfied AS MATERIALIZED (
    SELECT coalesce(jsonb_object_agg(u.id, u.edge_count), jsonb_build_object()) AS edge_counts
      FROM (SELECT d.dependent_step_id AS id, count(*) AS edge_count
              FROM {schema}.workflow_step_dependencies AS d
              JOIN {schema}.workflow_steps AS s ON s.id = d.prerequisite_step_id
             WHERE d.workflow_run_id = (SELECT run_id FROM parameter)
               AND d.release_mode = 'ON_SUCCESS' AND s.status <> 'SUCCEEDED'
             GROUP BY d.dependent_step_id) AS u
),
canceled_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET status = 'CANCELED',
           dependency_count_pending = 0,
           dependency_count_unsatisfied = coalesce(
               ((SELECT edge_counts FROM unsatisfied) ->> s.id::text)::integer, 0),
           finished_at = (SELECT at FROM parameter),
           updated_at = (SELECT at FROM parameter),
           status_reason = (SELECT reason FROM parameter),
           last_error_code = (SELECT error_code FROM parameter),
           last_error_message = (SELECT error_message FROM parameter)
     WHERE s.id = ANY (ARRAY(SELECT id FROM open_step)) AND (SELECT step_count FROM inconsistent) = 0
),
canceled_run AS (
    UPDATE {schema}.workflow_runs AS r
       SET status = 'CANCELED',
           step_count_active = 0,
           step_count_waiting = 0,
           step_count_unsuccessful = r.step_count_unsuccessful + (SELECT count(*) FROM open_step),
           finished_at = (SELECT at FROM parameter),
           updated_at = (SELECT at FROM parameter)
     WHERE r.id = (SELECT run_id FROM parameter) AND (SELECT step_count FROM inconsistent) = 0
    RETURNING r.id
),
ended_run AS MATERIALIZED (SELECT id FROM canceled_run),
-- As many ids as a notice can hold: see notices.py.
cancellation AS MATERIALIZED (
    SELECT jsonb_build_object('canceled', jsonb_agg(n.id))::text AS notice
      FROM (SELECT j.id, (row_number() OVER (ORDER BY j.id) - 1) / 150 AS part FROM job AS j WHERE j.status = 'LEASED') AS n
     WHERE (SELECT step_count FROM inconsistent) = 0
     GROUP BY n.part
)
SELECT i.step_count AS inconsistent_count,
       c.notice,
       CASE WHEN p.notifies AND c.notice IS NOT NULL THEN pg_notify({channel}, c.notice) IS NOT NULL END AS is_notified,
       CASE WHEN p.notifies THEN (SELECT count(pg_notify({run_channel}, id::text)) FROM ended_run) END AS notified_run_count
  FROM parameter AS p CROSS JOIN inconsistent AS i LEFT JOIN cancellation AS c ON true
