-- How long it is until the next schedule is due, by the clock of the database, so that a scheduler can sleep as long.
-- Zero or less when one is due already. Without a lock. Index: idx_job_schedules_next_fire.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT ceil(1000 * extract(epoch FROM s.next_fire_at
           - coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), clock_timestamp())))::bigint AS due_in_ms
  FROM {schema}.job_schedules AS s
 WHERE s.is_active
 ORDER BY s.next_fire_at
 LIMIT 1
