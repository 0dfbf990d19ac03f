-- Record how far held jobs have come: stage, counts and checkpoint; what is not given keeps its value. A given stage
-- writes STAGE_CHANGED, given counts write PROGRESS as given. Stage `running` sets the started marker of the attempt,
-- once: from then on the claim cannot be released as unstarted. The lease is not extended.
-- Guard, lock order and index: as complete_jobs.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, (doc ->> 'now')::timestamptz AS now FROM input
),
locked AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
     ORDER BY q.id
       FOR NO KEY UPDATE SKIP LOCKED
),
timed AS (
    SELECT l.*, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at FROM locked AS l
),
passed AS MATERIALIZED (
    SELECT id, run_number, attempt, at, item ->> 'stage' AS stage,
           (item ->> 'progress_done')::bigint AS progress_done, (item ->> 'progress_total')::bigint AS progress_total
      FROM timed
     WHERE status = 'LEASED'
       AND worker_id = (SELECT worker_id FROM parameter)
       AND run_number = (item ->> 'run_number')::integer
       AND attempt = (item ->> 'attempt')::integer
       AND lease_expires_at > at
),
updated AS (
    UPDATE {schema}.job_queue AS q
       SET stage = coalesce((SELECT jobs FROM parameter) -> q.id::text ->> 'stage', q.stage),
           progress_done = coalesce(
               ((SELECT jobs FROM parameter) -> q.id::text ->> 'progress_done')::bigint, q.progress_done),
           progress_total = coalesce(
               ((SELECT jobs FROM parameter) -> q.id::text ->> 'progress_total')::bigint, q.progress_total),
           checkpoint = coalesce((SELECT jobs FROM parameter) -> q.id::text -> 'checkpoint', q.checkpoint),
           updated_at = (SELECT max(at) FROM passed)
     WHERE q.id = ANY (ARRAY(SELECT id FROM passed))
),
started_attempt AS (
    UPDATE {schema}.job_attempts
       SET execution_started_persisted_at = (SELECT max(at) FROM passed)
     WHERE job_id = ANY (ARRAY(SELECT id FROM passed WHERE stage = 'running'))
       AND finished_at IS NULL
       AND execution_started_persisted_at IS NULL
),
event AS (
    INSERT INTO {schema}.job_events
           (job_id, run_number, attempt, event_type, stage, progress_done, progress_total, occurred_at)
    SELECT p.id, p.run_number, p.attempt, e.event_type::{schema}.job_event_type, e.stage, e.progress_done,
           e.progress_total, p.at
      FROM passed AS p
     CROSS JOIN LATERAL (VALUES
           (1, 'STAGE_CHANGED', p.stage, NULL::bigint, NULL::bigint),
           (2, 'PROGRESS', NULL, p.progress_done, p.progress_total)
           ) AS e (position, event_type, stage, progress_done, progress_total)
     WHERE num_nonnulls(e.stage, e.progress_done, e.progress_total) > 0
     ORDER BY p.id, e.position
)
SELECT id AS job_id FROM passed
