-- Insert a run with an idempotency key, unless its key is taken in its scope, and tell what is so:
--   CREATED      the run is new, and the caller inserts its steps
--   SAME         the key is taken by a run that was asked for in the same words: existing_run_id
--   OTHER        ... in other words
--   NO_SNAPSHOT  ... by a row from before the snapshots, which cannot be compared
--   UNSEEN       ... by a row that this statement cannot see: committed while it waited. Run again, the statement sees it
--   ISOLATION    the transaction could never see a row that was committed while it waited; nothing was written
-- Guard: the two unique indexes; the isolation.
-- Locks: an entry of one of the two indexes; this is where twins wait for each other. The existing row is read without a
-- lock, as that of a job is (enqueue_keyed_jobs). Index: the two unique indexes of keys.
WITH input AS (SELECT $1::jsonb AS doc),
request AS MATERIALIZED (
    SELECT (doc ->> 'run_id')::uuid AS id, doc ->> 'workflow_type' AS workflow_type,
           (doc ->> 'organization_id')::uuid AS organization_id, doc ->> 'idempotency_key' AS idempotency_key,
           (doc ->> 'status')::{schema}.workflow_run_status AS status, doc -> 'metadata' AS metadata,
           doc ->> 'result_step_key' AS result_step_key, doc -> 'enqueue_request' AS enqueue_request,
           (doc ->> 'total')::integer AS total, (doc ->> 'active')::integer AS active,
           (doc ->> 'waiting')::integer AS waiting, coalesce((doc ->> 'now')::timestamptz, now()) AS at,
           current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AS sees_commits
      FROM input
),
-- One insert an index: an ON CONFLICT that names no index would also hide a constraint of the application.
inserted_globally AS (
    INSERT INTO {schema}.workflow_runs
           (id, workflow_type, idempotency_key, status, metadata, result_step_key, enqueue_request, step_count_total,
            step_count_active, step_count_waiting, started_at, created_at, updated_at)
    SELECT id, workflow_type, idempotency_key, status, metadata, result_step_key, enqueue_request, total, active, waiting,
           at, at, at
      FROM request
     WHERE sees_commits AND organization_id IS NULL
        ON CONFLICT (workflow_type, idempotency_key) WHERE idempotency_key IS NOT NULL AND organization_id IS NULL
        DO NOTHING
    RETURNING id
),
inserted_in_organization AS (
    INSERT INTO {schema}.workflow_runs
           (id, workflow_type, organization_id, idempotency_key, status, metadata, result_step_key, enqueue_request,
            step_count_total, step_count_active, step_count_waiting, started_at, created_at, updated_at)
    SELECT id, workflow_type, organization_id, idempotency_key, status, metadata, result_step_key, enqueue_request, total,
           active, waiting, at, at, at
      FROM request
     WHERE sees_commits AND organization_id IS NOT NULL
        ON CONFLICT (workflow_type, organization_id, idempotency_key)
           WHERE idempotency_key IS NOT NULL AND organization_id IS NOT NULL
        DO NOTHING
    RETURNING id
),
inserted AS MATERIALIZED (
    SELECT id FROM inserted_globally UNION ALL SELECT id FROM inserted_in_organization
),
-- As of the start of the statement: what it inserted itself, and what was committed later, is not seen.
taken AS MATERIALIZED (
    SELECT w.id, w.enqueue_request
      FROM request AS r
      CROSS JOIN LATERAL (
           SELECT w.id, w.enqueue_request FROM {schema}.workflow_runs AS w
            WHERE r.organization_id IS NULL AND w.organization_id IS NULL
              AND w.workflow_type = r.workflow_type AND w.idempotency_key = r.idempotency_key
           UNION ALL
           SELECT w.id, w.enqueue_request FROM {schema}.workflow_runs AS w
            WHERE w.organization_id = r.organization_id
              AND w.workflow_type = r.workflow_type AND w.idempotency_key = r.idempotency_key) AS w
     WHERE r.sees_commits
)
SELECT t.id AS existing_run_id,
       CASE WHEN NOT r.sees_commits THEN 'ISOLATION'
            WHEN EXISTS (SELECT FROM inserted) THEN 'CREATED'
            WHEN t.id IS NULL THEN 'UNSEEN'
            WHEN t.enqueue_request IS NULL THEN 'NO_SNAPSHOT'
            WHEN t.enqueue_request = r.enqueue_request THEN 'SAME'
            ELSE 'OTHER' END AS answer
  FROM request AS r LEFT JOIN taken AS t ON true
