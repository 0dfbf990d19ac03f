-- Enqueue a batch of jobs with idempotency keys; returns a row for each request that made no job, with the reason:
--   SAME        the key is taken by a job that was asked for in the same words: existing_job_id
--   OTHER       ... in other words
--   NO_SNAPSHOT ... by a row from before the snapshots, which cannot be compared
--   UNSEEN      ... by a row that this statement cannot see: committed while it waited, or earlier in this batch. Run
--               again for these, the statement sees it
--   UNDEFINED   no row has the key, and the job type has no enabled definition
--   ISOLATION   the transaction could never see a row that was committed while it waited; nothing was written
-- A row without a request comes besides: the notice about the jobs that were made. notifies: tell workers, in this
-- transaction; else whoever commits does.
-- Guard: the two unique indexes; an enabled definition; the isolation. The caller rolls back unless all are SAME.
-- Locks: entries of the unique indexes, global ones first, in the order of (job type, organization, key); this is where
-- twins wait for each other. Existing rows are read without a lock: it would stop the worker that holds the job, and
-- take a right to update that producers do not have.
-- A request without a default keeps NULL in its snapshot, so that a changed definition makes no conflict.
-- Index: the two unique indexes of keys; primary key of job_definitions.
WITH input AS (SELECT $1::jsonb AS doc),
item AS MATERIALIZED (
    SELECT i.id, i.job_type, i.organization_id, i.idempotency_key,
           -- recordset turns a JSON null into an SQL NULL; a payload is always given, so NULL can only mean that
           coalesce(i.payload, 'null') AS payload,
           i.priority, i.max_attempts, i.timeout_seconds, i.stage, i.next_run_at, i.run_in_us, i.ordinality,
           jsonb_build_object(
               'payload', i.payload, 'priority', i.priority, 'max_attempts', i.max_attempts,
               'timeout_seconds', i.timeout_seconds, 'stage', i.stage,
               'next_run_at', coalesce(
                   to_char(i.next_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   'PT' || i.run_in_us / 1000000 || '.' || lpad((i.run_in_us % 1000000)::text, 6, '0') || 'S')
           ) AS enqueue_request,
           coalesce((input.doc ->> 'now')::timestamptz, now()) AS at
      FROM input, ROWS FROM (jsonb_to_recordset(input.doc -> 'jobs') AS (
           id uuid, job_type text, organization_id uuid, idempotency_key text, payload jsonb, priority integer,
           max_attempts integer, timeout_seconds integer, stage text, next_run_at timestamptz, run_in_us bigint))
           WITH ORDINALITY AS i
           (id, job_type, organization_id, idempotency_key, payload, priority, max_attempts, timeout_seconds, stage,
            next_run_at, run_in_us, ordinality)
),
transaction_state AS MATERIALIZED (
    SELECT current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AS sees_commits
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
insertable AS MATERIALIZED (
    SELECT i.id, i.job_type, i.organization_id, i.idempotency_key, i.payload, i.enqueue_request, i.stage, i.at,
           i.ordinality,
           coalesce(i.priority, d.priority) AS priority, coalesce(i.max_attempts, d.max_attempts) AS max_attempts,
           coalesce(i.timeout_seconds, d.timeout_seconds) AS timeout_seconds,
           coalesce(i.next_run_at, i.at + coalesce(i.run_in_us, 0)::double precision * interval '1 microsecond')
               AS next_run_at
      FROM item AS i JOIN definition AS d USING (job_type)
     WHERE (SELECT sees_commits FROM transaction_state)
),
-- One insert an index: an ON CONFLICT that names no index would also hide a constraint of the application.
enqueued_globally AS (
    INSERT INTO {schema}.job_queue
           (id, job_type, idempotency_key, payload, enqueue_request, priority, max_attempts, timeout_seconds, stage,
            next_run_at, created_at, updated_at)
    SELECT id, job_type, idempotency_key, payload, enqueue_request, priority, max_attempts, timeout_seconds, stage,
           next_run_at, at, at
      FROM insertable
     WHERE organization_id IS NULL
     ORDER BY job_type, idempotency_key, ordinality
        ON CONFLICT (job_type, idempotency_key) WHERE idempotency_key IS NOT NULL AND organization_id IS NULL
        DO NOTHING
    RETURNING id, job_type, stage, created_at, next_run_at
),
enqueued_in_organization AS (
    INSERT INTO {schema}.job_queue
           (id, job_type, organization_id, idempotency_key, payload, enqueue_request, priority, max_attempts,
            timeout_seconds, stage, next_run_at, created_at, updated_at)
    SELECT id, job_type, organization_id, idempotency_key, payload, enqueue_request, priority, max_attempts,
           timeout_seconds, stage, next_run_at, at, at
      FROM insertable
     WHERE organization_id IS NOT NULL
       AND (SELECT count(*) FROM enqueued_globally) >= 0  -- always true: it makes this insert the later one
     ORDER BY job_type, organization_id, idempotency_key, ordinality
        ON CONFLICT (job_type, organization_id, idempotency_key)
           WHERE idempotency_key IS NOT NULL AND organization_id IS NOT NULL
        DO NOTHING
    RETURNING id, job_type, stage, created_at, next_run_at
),
enqueued AS MATERIALIZED (
    SELECT id, job_type, stage, created_at, next_run_at FROM enqueued_globally
    UNION ALL
    SELECT id, job_type, stage, created_at, next_run_at FROM enqueued_in_organization
),
enqueued_event AS (
    INSERT INTO {schema}.job_events (job_id, event_type, stage, payload, occurred_at)
    SELECT id, 'ENQUEUED', stage, jsonb_build_object('job_type', job_type), created_at FROM enqueued
),
refused AS MATERIALIZED (
    SELECT i.id, i.job_type, i.organization_id, i.idempotency_key, i.enqueue_request, i.ordinality
      FROM item AS i
     WHERE i.id NOT IN (SELECT id FROM enqueued)
),
-- As of the start of the statement: what it inserted itself, and what was committed later, is not seen.
taken AS MATERIALIZED (
    SELECT r.id, q.id AS existing_job_id, q.enqueue_request
      FROM refused AS r
      CROSS JOIN LATERAL (
           SELECT q.id, q.enqueue_request FROM {schema}.job_queue AS q
            WHERE r.organization_id IS NULL AND q.organization_id IS NULL
              AND q.job_type = r.job_type AND q.idempotency_key = r.idempotency_key
           UNION ALL
           SELECT q.id, q.enqueue_request FROM {schema}.job_queue AS q
            WHERE q.organization_id = r.organization_id
              AND q.job_type = r.job_type AND q.idempotency_key = r.idempotency_key) AS q
     WHERE (SELECT sees_commits FROM transaction_state)
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
SELECT r.ordinality, r.job_type, t.existing_job_id,
       CASE WHEN NOT (SELECT sees_commits FROM transaction_state) THEN 'ISOLATION'
            WHEN t.enqueue_request = r.enqueue_request THEN 'SAME'
            WHEN t.enqueue_request IS NOT NULL THEN 'OTHER'
            WHEN t.existing_job_id IS NOT NULL THEN 'NO_SNAPSHOT'
            WHEN r.job_type IN (SELECT job_type FROM definition) THEN 'UNSEEN'
            ELSE 'UNDEFINED' END AS answer,
       NULL AS notice, NULL AS is_notified
  FROM refused AS r
  LEFT JOIN taken AS t ON t.id = r.id
 UNION ALL
SELECT NULL, NULL, NULL, NULL, w.notice,
       CASE WHEN (SELECT (doc ->> 'notifies')::boolean FROM input)
            THEN pg_notify({channel}, w.notice) IS NOT NULL END
  FROM wake_up AS w
 ORDER BY ordinality
