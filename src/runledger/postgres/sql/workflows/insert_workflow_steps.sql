-- Insert steps and edges, and with the first of them the run itself: all of it, or nothing where a job type has no
-- enabled definition; then the missing types come back. Steps that begin released get their job here.
-- How each step begins was worked out by the caller (core.workflows.step_release), who knows all steps; a new run is
-- nobody else's, and of a live one the caller holds the lock (lock_workflow_runs).
-- workflow_type and what belongs to it: the run itself, if it has no key; a keyed one exists already, as does the run
-- that steps are appended to.
-- job_types: every type of the whole request, so that what comes in a later statement is refused by the first.
-- Settings that are not given are copied from the definition here, once. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'run_id')::uuid AS run_id, coalesce((doc ->> 'now')::timestamptz, now()) AS at,
           coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS due_at
      FROM input
),
item AS MATERIALIZED (
    SELECT i.id, i.step_key, i.execution_kind::{schema}.workflow_step_execution_kind AS execution_kind, i.job_type,
           i.organization_id,
           -- recordset turns a JSON null into an SQL NULL; a payload is always given, so NULL can only mean that
           coalesce(i.payload, 'null') AS payload,
           i.priority, i.max_attempts, i.timeout_seconds, i.stage,
           i.status::{schema}.workflow_step_status AS status, i.job_id, i.total, i.pending, i.unsatisfied
      FROM input, jsonb_to_recordset(input.doc -> 'steps') AS i (
           id uuid, step_key text, execution_kind text, job_type text, organization_id uuid, payload jsonb,
           priority integer, max_attempts integer, timeout_seconds integer, stage text, status text, job_id uuid,
           total integer, pending integer, unsatisfied integer)
),
asked AS MATERIALIZED (
    SELECT job_type FROM item WHERE job_type IS NOT NULL
    UNION
    SELECT jsonb_array_elements_text(doc -> 'job_types') FROM input
),
definition AS MATERIALIZED (
    SELECT d.job_type, d.priority, d.max_attempts, d.timeout_seconds
      FROM asked
      CROSS JOIN LATERAL (
           SELECT d.job_type, d.default_priority AS priority, d.max_attempts,
                  d.default_timeout_seconds AS timeout_seconds
             FROM {schema}.job_definitions AS d
            WHERE d.job_type = asked.job_type AND d.is_enabled) AS d
),
missing AS MATERIALIZED (
    SELECT job_type FROM asked WHERE job_type NOT IN (SELECT job_type FROM definition)
),
inserted_run AS (
    INSERT INTO {schema}.workflow_runs
           (id, workflow_type, organization_id, status, metadata, result_step_key, step_count_total, step_count_active,
            step_count_waiting, started_at, created_at, updated_at)
    SELECT p.run_id, doc ->> 'workflow_type', (doc ->> 'organization_id')::uuid,
           (doc ->> 'status')::{schema}.workflow_run_status, doc -> 'metadata', doc ->> 'result_step_key',
           (doc ->> 'total')::integer, (doc ->> 'active')::integer, (doc ->> 'waiting')::integer, p.at, p.at, p.at
      FROM input, parameter AS p
     WHERE doc ? 'workflow_type' AND NOT EXISTS (SELECT FROM missing)
),
inserted_step AS (
    INSERT INTO {schema}.workflow_steps
           (id, workflow_run_id, step_key, execution_kind, job_type, organization_id, payload, priority, max_attempts,
            timeout_seconds, stage, status, job_id, released_at, finished_at, status_reason, last_error_code,
            last_error_message, dependency_count_total, dependency_count_pending, dependency_count_unsatisfied,
            created_at, updated_at)
    SELECT i.id, p.run_id, i.step_key, i.execution_kind, i.job_type, i.organization_id, i.payload,
           coalesce(i.priority, d.priority), coalesce(i.max_attempts, d.max_attempts),
           coalesce(i.timeout_seconds, d.timeout_seconds), i.stage, i.status, i.job_id,
           CASE WHEN i.status IN ('ENQUEUED', 'WAITING_FOR_EXTERNAL') THEN p.at END,
           CASE WHEN i.status = 'CANCELED' THEN p.at END,
           CASE WHEN i.status = 'CANCELED' THEN 'workflow.dependency_unsatisfied' END,
           CASE WHEN i.status = 'CANCELED' THEN 'workflow.dependency_unsatisfied' END,
           CASE WHEN i.status = 'CANCELED'
                THEN 'the steps that this step depends on ended without meeting its requirements' END,
           i.total, i.pending, i.unsatisfied, p.at, p.at
      FROM item AS i LEFT JOIN definition AS d ON d.job_type = i.job_type, parameter AS p
     WHERE NOT EXISTS (SELECT FROM missing)
    RETURNING id, job_id, job_type, organization_id, payload, priority, max_attempts, timeout_seconds, stage
),
enqueued AS (
    INSERT INTO {schema}.job_queue
           (id, job_type, organization_id, payload, priority, max_attempts, timeout_seconds, stage, next_run_at,
            workflow_step_id, created_at, updated_at)
    SELECT s.job_id, s.job_type, s.organization_id, s.payload, s.priority, s.max_attempts, s.timeout_seconds, s.stage,
           p.due_at, s.id, p.at, p.at
      FROM inserted_step AS s, parameter AS p
     WHERE s.job_id IS NOT NULL
     ORDER BY s.job_id
    RETURNING id, job_type, stage, created_at
),
enqueued_event AS (
    INSERT INTO {schema}.job_events (job_id, event_type, stage, payload, occurred_at)
    SELECT id, 'ENQUEUED', stage, jsonb_build_object('job_type', job_type), created_at FROM enqueued
),
inserted_edge AS (
    INSERT INTO {schema}.workflow_step_dependencies
           (workflow_run_id, prerequisite_step_id, dependent_step_id, release_mode, created_at)
    SELECT p.run_id, e.prerequisite, e.dependent, e.release_mode::{schema}.workflow_dependency_release_mode, p.at
      FROM input,
           jsonb_to_recordset(input.doc -> 'edges') AS e (prerequisite uuid, dependent uuid, release_mode text),
           parameter AS p
     WHERE NOT EXISTS (SELECT FROM missing)
),
-- What workers are told: see notices.py. Too many types for one payload become any.
wake_up AS MATERIALIZED (
    SELECT jsonb_build_object('job_types', CASE WHEN octet_length(t.job_types::text) <= 7000 THEN t.job_types END,
                              'due_at', p.due_at, 'delay_ms', 0)::text AS notice
      FROM (SELECT jsonb_agg(DISTINCT job_type) AS job_types FROM enqueued) AS t, parameter AS p
     WHERE t.job_types IS NOT NULL
)
SELECT ARRAY(SELECT job_type FROM missing ORDER BY job_type) AS missing_job_types, p.at AS created_at,
       w.notice,
       CASE WHEN w.notice IS NOT NULL AND (SELECT (doc ->> 'notifies')::boolean FROM input)
            THEN pg_notify({channel}, w.notice) IS NOT NULL END AS is_notified
  FROM parameter AS p LEFT JOIN wake_up AS w ON true
