-- End steps, and move what waits for them: the heart of workflows. In one statement
--   * steps end as their jobs have ended (step_ids), or as the application says (gate_*),
--   * each step that waits for them counts one prerequisite less; one that waits for no more is released, as a job or as
--     a gate, or canceled if a dependency can not be satisfied any more,
--   * the run counts where its steps are, has the status that follows, and the result once its result step has succeeded.
-- A step that is canceled here has ended, too. If others wait for it, it comes back, and the caller runs the statement
-- again with it (canceled_step_ids), one level deeper each time.
-- Guard: the caller holds the lock of the runs (lock_workflow_runs), took it in a statement before, and holds the locks of
-- the jobs that have ended. So nobody else moves a step of these runs, counters are read and written without a lock of
-- their own, and an edge that was appended is seen. A step that has ended already is left alone.
-- inconsistent_count: open steps whose job does not point back or has not ended, and dependents of another run. Nothing
-- makes such rows as long as the constraints stand; where there are any, the caller rolls all of this back.
-- Per ended step it reads its own edges and the rows at their ends, never the run's other steps.
-- notifies: tell workers of the released jobs and waiting clients of the ended runs, in this transaction; else it comes
-- back, for whoever commits. Index: primary keys.
-- What changes a step is looked up in one object by its id, as in complete_jobs: a join falls into sequential scans.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT ARRAY(SELECT jsonb_array_elements_text(doc -> 'step_ids')::uuid) AS step_ids,
           ARRAY(SELECT jsonb_array_elements_text(doc -> 'canceled_step_ids')::uuid) AS canceled_step_ids,
           (doc ->> 'gate_step_id')::uuid AS gate_step_id,
           (doc ->> 'gate_status')::{schema}.workflow_step_status AS gate_status,
           doc ->> 'gate_reason' AS gate_reason,
           doc ->> 'gate_error_code' AS gate_error_code,
           doc ->> 'gate_error_message' AS gate_error_message,
           doc -> 'gate_output' AS gate_output,
           coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS at,
           coalesce((doc ->> 'notifies')::boolean, false) AS notifies,
           'workflow.dependency_unsatisfied' AS unsatisfied_code,
           'the steps that this step depends on ended without meeting its requirements' AS unsatisfied_message
      FROM input
),
named AS MATERIALIZED (
    SELECT s.id, s.workflow_run_id, s.step_key, s.job_id,
           (SELECT q.status FROM {schema}.job_queue AS q
             WHERE q.id = s.job_id AND q.workflow_step_id = s.id
               AND q.status IN ('SUCCEEDED', 'DEAD_LETTERED', 'CANCELED')) AS job_status
      FROM {schema}.workflow_steps AS s
     WHERE s.id = ANY ((SELECT step_ids FROM parameter)::uuid[])
       AND s.status IN ('ENQUEUED', 'RUNNING')
),
-- Steps that end now.
ended AS MATERIALIZED (
    SELECT id, workflow_run_id, step_key, job_id, false AS was_waiting,
           CASE job_status WHEN 'SUCCEEDED' THEN 'SUCCEEDED' WHEN 'DEAD_LETTERED' THEN 'FAILED'
                           ELSE 'CANCELED' END::{schema}.workflow_step_status AS status
      FROM named
     WHERE job_status IS NOT NULL
    UNION ALL
    SELECT s.id, s.workflow_run_id, s.step_key, NULL, true, p.gate_status
      FROM parameter AS p
      CROSS JOIN LATERAL (
           SELECT s.id, s.workflow_run_id, s.step_key FROM {schema}.workflow_steps AS s
            WHERE s.id = p.gate_step_id AND s.status = 'WAITING_FOR_EXTERNAL' OFFSET 0) AS s
),
-- Those, and the ones that the statement before this one has canceled.
source AS MATERIALIZED (
    SELECT id, workflow_run_id, status = 'SUCCEEDED' AS is_success FROM ended
    UNION ALL
    SELECT s.id, s.workflow_run_id, false
      FROM {schema}.workflow_steps AS s
     WHERE s.id = ANY ((SELECT canceled_step_ids FROM parameter)::uuid[])
),
edge AS MATERIALIZED (
    SELECT d.dependent_step_id AS id, f.workflow_run_id, count(*) AS ended_count,
           count(*) FILTER (WHERE d.release_mode = 'ON_SUCCESS' AND NOT f.is_success) AS unsatisfied_count
      FROM source AS f
      CROSS JOIN LATERAL (
           SELECT d.dependent_step_id, d.release_mode
             FROM {schema}.workflow_step_dependencies AS d
            WHERE d.workflow_run_id = f.workflow_run_id AND d.prerequisite_step_id = f.id OFFSET 0) AS d
     GROUP BY d.dependent_step_id, f.workflow_run_id
),
judged AS MATERIALIZED (
    SELECT s.id, s.workflow_run_id, s.pending, s.unsatisfied, e.workflow_run_id <> s.workflow_run_id AS is_foreign,
           CASE WHEN s.pending > 0 THEN 'BLOCKED'
                WHEN s.unsatisfied > 0 THEN 'CANCELED'
                WHEN s.execution_kind = 'EXTERNAL' THEN 'WAITING_FOR_EXTERNAL'
                ELSE 'ENQUEUED' END::{schema}.workflow_step_status AS status
      FROM edge AS e
      CROSS JOIN LATERAL (
           SELECT s.id, s.workflow_run_id, s.execution_kind,
                  s.dependency_count_pending - e.ended_count AS pending,
                  s.dependency_count_unsatisfied + e.unsatisfied_count AS unsatisfied
             FROM {schema}.workflow_steps AS s
            WHERE s.id = e.id AND s.status = 'BLOCKED' OFFSET 0) AS s
),
-- Each with the id of its job, if it gets one: joined later, they would be compared each with each.
dependent AS MATERIALIZED (
    SELECT j.id, j.workflow_run_id, j.pending, j.unsatisfied, j.status,
           CASE WHEN j.status = 'ENQUEUED' THEN uuidv7() END AS job_id
      FROM (SELECT * FROM judged ORDER BY id) AS j
),
enqueued AS (
    INSERT INTO {schema}.job_queue
           (id, job_type, organization_id, payload, priority, max_attempts, timeout_seconds, stage, next_run_at,
            workflow_step_id, created_at, updated_at)
    SELECT d.job_id, s.job_type, s.organization_id, s.payload, s.priority, s.max_attempts, s.timeout_seconds, s.stage,
           p.at, d.id, p.at, p.at
      FROM dependent AS d
      CROSS JOIN parameter AS p
      CROSS JOIN LATERAL (
           SELECT s.job_type, s.organization_id, s.payload, s.priority, s.max_attempts, s.timeout_seconds, s.stage
             FROM {schema}.workflow_steps AS s WHERE s.id = d.id OFFSET 0) AS s
     WHERE d.job_id IS NOT NULL
     ORDER BY d.job_id
    RETURNING id, job_type, stage, created_at
),
enqueued_event AS (
    INSERT INTO {schema}.job_events (job_id, event_type, stage, payload, occurred_at)
    SELECT id, 'ENQUEUED', stage, jsonb_build_object('job_type', job_type), created_at FROM enqueued
),
changed AS MATERIALIZED (
    SELECT jsonb_object_agg(id, jsonb_build_array(pending, unsatisfied, status, job_id)) AS steps FROM dependent
),
moved_dependent AS (
    UPDATE {schema}.workflow_steps AS s
       SET (dependency_count_pending, dependency_count_unsatisfied, status, job_id, released_at, finished_at, status_reason,
            last_error_code, last_error_message, updated_at) = (
           SELECT (change ->> 0)::integer, (change ->> 1)::integer, (change ->> 2)::{schema}.workflow_step_status, (change ->> 3)::uuid,
                  CASE WHEN change ->> 2 IN ('ENQUEUED', 'WAITING_FOR_EXTERNAL') THEN p.at END,
                  CASE WHEN change ->> 2 = 'CANCELED' THEN p.at END,
                  CASE WHEN change ->> 2 = 'CANCELED' THEN p.unsatisfied_code END,
                  CASE WHEN change ->> 2 = 'CANCELED' THEN p.unsatisfied_code END,
                  CASE WHEN change ->> 2 = 'CANCELED' THEN p.unsatisfied_message END,
                  p.at
             FROM parameter AS p CROSS JOIN LATERAL (
                      SELECT (SELECT steps FROM changed) -> s.id::text AS change OFFSET 0) AS c)
     WHERE s.id = ANY (ARRAY(SELECT id FROM dependent))
),
ended_job_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET (status, status_reason, last_error_code, last_error_message, output, finished_at, updated_at) = (
           SELECT CASE q.status WHEN 'SUCCEEDED' THEN 'SUCCEEDED' WHEN 'DEAD_LETTERED' THEN 'FAILED'
                                ELSE 'CANCELED' END::{schema}.workflow_step_status,
                  CASE WHEN q.status = 'SUCCEEDED' THEN 'SUCCEEDED' ELSE q.status_reason END,
                  q.last_error_code, q.last_error_message, q.output, p.at, p.at
             FROM {schema}.job_queue AS q, parameter AS p
            WHERE q.id = s.job_id)
     WHERE s.id = ANY (ARRAY(SELECT id FROM ended WHERE NOT was_waiting))
),
ended_gate AS (
    UPDATE {schema}.workflow_steps AS s
       SET (status, status_reason, last_error_code, last_error_message, output, finished_at, updated_at) = (
           SELECT p.gate_status, p.gate_reason, p.gate_error_code, p.gate_error_message, p.gate_output, p.at, p.at
             FROM parameter AS p)
     WHERE s.id = ANY (ARRAY(SELECT id FROM ended WHERE was_waiting))
),
moves AS (
    SELECT workflow_run_id AS run_id, CASE WHEN was_waiting THEN 0 ELSE -1 END AS active,
           CASE WHEN was_waiting THEN -1 ELSE 0 END AS waiting,
           CASE WHEN status = 'SUCCEEDED' THEN 0 ELSE 1 END AS unsuccessful
      FROM ended
    UNION ALL
    SELECT workflow_run_id, -1, CASE WHEN status = 'WAITING_FOR_EXTERNAL' THEN 1 ELSE 0 END,
           CASE WHEN status = 'CANCELED' THEN 1 ELSE 0 END
      FROM dependent
     WHERE status IN ('WAITING_FOR_EXTERNAL', 'CANCELED')
),
summed AS MATERIALIZED (
    SELECT run_id, sum(active)::integer AS active, sum(waiting)::integer AS waiting,
           sum(unsuccessful)::integer AS unsuccessful
      FROM moves
     GROUP BY run_id
),
moved_run AS (
    UPDATE {schema}.workflow_runs AS r
       SET (status, step_count_active, step_count_waiting, step_count_unsuccessful, finished_at, result, updated_at) = (
           SELECT n.status, n.active, n.waiting, n.unsuccessful,
                  CASE WHEN n.status NOT IN ('RUNNING', 'WAITING_FOR_EXTERNAL') THEN coalesce(r.finished_at, p.at) END,
                  CASE WHEN r.result_step_key IS NULL THEN r.result ELSE coalesce((
                       SELECT coalesce(CASE WHEN e.was_waiting THEN p.gate_output
                                            ELSE (SELECT q.output FROM {schema}.job_queue AS q WHERE q.id = e.job_id) END,
                                       'null')
                         FROM ended AS e
                        WHERE e.workflow_run_id = r.id AND e.step_key = r.result_step_key
                          AND e.status = 'SUCCEEDED'), r.result) END,
                  p.at
             FROM (SELECT r.step_count_active + m.active AS active, r.step_count_waiting + m.waiting AS waiting,
                          r.step_count_unsuccessful + m.unsuccessful AS unsuccessful
                     FROM summed AS m WHERE m.run_id = r.id OFFSET 0) AS c
            CROSS JOIN LATERAL (
                  SELECT c.*, CASE WHEN r.status = 'CANCELED' THEN 'CANCELED'
                                   WHEN c.active > 0 THEN 'RUNNING'
                                   WHEN c.waiting > 0 THEN 'WAITING_FOR_EXTERNAL'
                                   WHEN c.unsuccessful > 0 THEN 'COMPLETED_WITH_ERRORS'
                                   ELSE 'SUCCEEDED' END::{schema}.workflow_run_status AS status OFFSET 0) AS n
            CROSS JOIN parameter AS p)
     WHERE r.id = ANY (ARRAY(SELECT run_id FROM summed))
    RETURNING r.id, r.status
),
ended_run AS MATERIALIZED (
    SELECT id FROM moved_run WHERE status IN ('SUCCEEDED', 'COMPLETED_WITH_ERRORS')
),
cascade AS MATERIALIZED (
    SELECT d.id
      FROM dependent AS d
     WHERE d.status = 'CANCELED'
       AND EXISTS (SELECT FROM {schema}.workflow_step_dependencies AS x
                    WHERE x.workflow_run_id = d.workflow_run_id AND x.prerequisite_step_id = d.id)
),
-- What workers are told: see notices.py. Too many types for one payload become any.
wake_up AS MATERIALIZED (
    SELECT jsonb_build_object('job_types', CASE WHEN octet_length(t.job_types::text) <= 7000 THEN t.job_types END,
                              'due_at', p.at, 'delay_ms', 0)::text AS notice
      FROM (SELECT jsonb_agg(DISTINCT job_type) AS job_types FROM enqueued) AS t, parameter AS p
     WHERE t.job_types IS NOT NULL
)
SELECT ARRAY(SELECT id FROM cascade) AS canceled_step_ids,
       (SELECT count(*) FROM named WHERE job_status IS NULL)
           + (SELECT count(*) FROM judged WHERE is_foreign) AS inconsistent_count,
       ARRAY(SELECT id FROM ended_run) AS ended_run_ids,
       w.notice,
       CASE WHEN p.notifies AND w.notice IS NOT NULL THEN pg_notify({channel}, w.notice) IS NOT NULL END AS is_notified,
       CASE WHEN p.notifies
            THEN (SELECT count(pg_notify({run_channel}, id::text)) FROM ended_run) END AS notified_run_count
  FROM parameter AS p LEFT JOIN wake_up AS w ON true
