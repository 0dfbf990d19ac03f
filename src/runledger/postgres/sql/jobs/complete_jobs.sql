-- Complete held jobs: LEASED -> SUCCEEDED, their attempt closed, one SUCCEEDED event each.
-- A job that carries out the step of a workflow is left alone, not even locked, unless the caller holds the lock of its
-- run (ends_steps) and goes on with end_workflow_steps. finds_runs: such jobs come back with their run instead.
-- Guard: the lease (worker, run, attempt, not expired), judged after the row lock. A row that another transaction
-- has locked is skipped; the caller asks read_held_leases what became of the ids that did not come back.
-- Lock order: job rows by id. Index: primary keys. `jobs` is an object keyed by job id, so that each locked row
-- finds its item by itself: a join with the items is planned as a nested loop of 500 x 500 or a sequential scan.
-- idle_timeout_ms: how long the session may be silent from here to its COMMIT; then the server ends it. A client that is
-- gone without a trace would keep the rows locked for as long as TCP takes to notice.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, (doc ->> 'now')::timestamptz AS now,
           CASE WHEN doc ->> 'idle_timeout_ms' IS NOT NULL
                THEN set_config('idle_in_transaction_session_timeout', doc ->> 'idle_timeout_ms', true) END AS idle_timeout,
           coalesce((doc ->> 'ends_steps')::boolean, false) AS ends_steps,
           coalesce((doc ->> 'finds_runs')::boolean, false) AS finds_runs
      FROM input
),
locked AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at, q.workflow_step_id,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
       AND (q.workflow_step_id IS NULL OR (SELECT ends_steps FROM parameter))
     ORDER BY q.id
       FOR NO KEY UPDATE SKIP LOCKED
),
timed AS (
    SELECT l.*, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at FROM locked AS l
),
passed AS MATERIALIZED (
    SELECT id, run_number, attempt, at, workflow_step_id
      FROM timed
     WHERE status = 'LEASED'
       AND worker_id = (SELECT worker_id FROM parameter)
       AND run_number = (item ->> 'run_number')::integer
       AND attempt = (item ->> 'attempt')::integer
       AND lease_expires_at > at
),
completed AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'SUCCEEDED',
           stage = 'completed',
           output = (SELECT jobs FROM parameter) -> q.id::text -> 'output',
           finished_at = (SELECT max(at) FROM passed),
           updated_at = (SELECT max(at) FROM passed),
           worker_id = NULL, lease_expires_at = NULL, last_heartbeat_at = NULL,
           status_reason = NULL, last_error_code = NULL, last_error_message = NULL
     WHERE q.id = ANY (ARRAY(SELECT id FROM passed))
),
closed_attempt AS (
    -- The one open attempt of a job is the fenced one, so its key need not be compared again.
    UPDATE {schema}.job_attempts
       SET finished_at = (SELECT max(at) FROM passed)
     WHERE job_id = ANY (ARRAY(SELECT id FROM passed)) AND finished_at IS NULL
),
succeeded_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, stage, occurred_at)
    SELECT id, run_number, attempt, 'SUCCEEDED', 'completed', at FROM passed ORDER BY id
)
SELECT p.id AS job_id, p.workflow_step_id, NULL::uuid AS workflow_run_id
  FROM passed AS p
 UNION ALL
SELECT q.id, s.id, s.workflow_run_id
  FROM {schema}.job_queue AS q
  CROSS JOIN LATERAL (
       SELECT s.id, s.workflow_run_id FROM {schema}.workflow_steps AS s WHERE s.id = q.workflow_step_id OFFSET 0) AS s
 WHERE (SELECT finds_runs FROM parameter)
   AND q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
