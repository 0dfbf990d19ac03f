-- Lock the schedules that are due, the earliest first, for the transaction that fires them. Several schedulers share
-- them: what another one has locked is skipped, and what it has just fired is not due any more once it is looked at
-- again under the lock. `at` is the time of the database for the whole pass; `due_at` is the due time that waits, also
-- where that could not fire and is tried again. `next_fire_set_at`: when somebody has set it by hand. Whether `last_job_id`
-- has ended is for a statement after the locks (list_unended_jobs).
-- Index: idx_job_schedules_next_fire.
WITH input AS (SELECT $1::jsonb AS doc),
due AS MATERIALIZED (
    SELECT s.id, s.name, s.cron_expr, s.timezone, s.max_jitter_seconds, s.catch_up, s.catch_up_limit,
           s.overlap, s.next_fire_at, s.next_fire_set_at, s.deferred_due_at, s.last_job_id
      FROM {schema}.job_schedules AS s
     WHERE s.is_active
       AND s.next_fire_at <= coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
     ORDER BY s.next_fire_at
     LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
       FOR NO KEY UPDATE SKIP LOCKED
)
SELECT d.id AS schedule_id, d.name, d.cron_expr, d.timezone, d.max_jitter_seconds, d.catch_up,
       d.catch_up_limit, d.overlap, coalesce(d.deferred_due_at, d.next_fire_at) AS due_at,
       d.next_fire_set_at, d.deferred_due_at IS NOT NULL AS was_deferred, d.last_job_id,
       coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp()) AS at
  FROM due AS d
