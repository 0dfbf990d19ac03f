-- Enqueue a batch of jobs without idempotency keys: all of them, or none.
-- Guard: every job type has an enabled definition; otherwise nothing is inserted and the missing types come back.
-- notifies: tell workers, in this transaction; else the notice comes back, for whoever commits.
-- Defaults are copied from the definition here, once: later changes of a definition do not touch the job.
-- Index: primary key of job_definitions.
WITH input AS (SELECT $1::jsonb AS doc),
item AS MATERIALIZED (
    SELECT i.id, i.job_type, i.organization_id,
           -- recordset turns a JSON null into an SQL NULL; a payload is always given, so NULL can only mean that
           coalesce(i.payload, 'null') AS payload,
           i.priority, i.max_attempts, i.timeout_seconds, i.stage, i.next_run_at, i.run_in_us, i.ordinality,
           coalesce((input.doc ->> 'now')::timestamptz, now()) AS at
      FROM input, ROWS FROM (jsonb_to_recordset(input.doc -> 'jobs') AS (
           id uuid, job_type text, organization_id uuid, payload jsonb, priority integer, max_attempts integer,
           timeout_seconds integer, stage text, next_run_at timestamptz, run_in_us bigint)) WITH ORDINALITY AS i
           (id, job_type, organization_id, payload, priority, max_attempts, timeout_seconds, stage, next_run_at,
            run_in_us, ordinality)
),
definition AS MATERIALIZED (
    SELECT d.job_type, d.priority, d.max_attempts, d.timeout_seconds
      FROM (SELECT DISTINCT job_type FROM item) AS asked
      CROSS JOIN LATERAL (
           SELECT d.job_type, d.default_priority AS priority, d.max_attempts,
                  d.default_timeout_seconds AS timeout_seconds
             FROM {schema}.job_definitions AS d
            WHERE d.job_type = asked.job_type AND d.is_enabled) AS d
),
missing AS MATERIALIZED (
    SELECT DISTINCT job_type FROM item WHERE job_type NOT IN (SELECT job_type FROM definition)
),
enqueued AS (
    INSERT INTO {schema}.job_queue
           (id, job_type, organization_id, payload, priority, max_attempts, timeout_seconds, stage, next_run_at,
            created_at, updated_at)
    SELECT i.id, i.job_type, i.organization_id, i.payload,
           coalesce(i.priority, d.priority), coalesce(i.max_attempts, d.max_attempts),
           coalesce(i.timeout_seconds, d.timeout_seconds), i.stage,
           coalesce(i.next_run_at, i.at + coalesce(i.run_in_us, 0)::double precision * interval '1 microsecond'), i.at, i.at
      FROM item AS i JOIN definition AS d USING (job_type)
     WHERE NOT EXISTS (SELECT FROM missing)
     ORDER BY i.ordinality
    RETURNING id, job_type, stage, created_at, next_run_at
),
enqueued_event AS (
    INSERT INTO {schema}.job_events (job_id, event_type, stage, payload, occurred_at)
    SELECT id, 'ENQUEUED', stage, jsonb_build_object('job_type', job_type), created_at FROM enqueued
),
made AS MATERIALIZED (
    SELECT count(*) AS job_count, min(e.next_run_at) AS due_at,
           greatest(0, ceil(1000 * extract(epoch FROM min(e.next_run_at)
               - coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), clock_timestamp())))) AS delay_ms
      FROM enqueued AS e
),
-- What workers are told of jobs that are due soon: see notices.py. Too many types for one payload become any.
wake_up AS MATERIALIZED (
    SELECT jsonb_build_object(
               'job_types', CASE WHEN octet_length(t.job_types::text) <= 7000 THEN t.job_types END,
               'due_at', m.due_at, 'delay_ms', m.delay_ms::integer)::text AS notice
      FROM made AS m CROSS JOIN (SELECT jsonb_agg(job_type ORDER BY job_type) AS job_types FROM definition) AS t
     WHERE m.job_count > 0 AND m.delay_ms <= 60000
)
SELECT m.job_count AS enqueued_count,
       ARRAY(SELECT job_type FROM missing ORDER BY job_type) AS missing_job_types,
       w.notice,
       CASE WHEN w.notice IS NOT NULL AND (SELECT (doc ->> 'notifies')::boolean FROM input)
            THEN pg_notify({channel}, w.notice) IS NOT NULL END AS is_notified
  FROM made AS m LEFT JOIN wake_up AS w ON true
