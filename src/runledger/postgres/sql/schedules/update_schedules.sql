-- Change what schedules are. `next_fire_at` is absent where the stored one holds; with it, what was deferred is over.
-- Organisation and owner stay. A schedule that is what it should be already is not written and does not come back.
-- Guard: the caller holds the locks (lock_schedules). Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_schedules AS s
   SET job_type = i.job_type,
       payload_template = coalesce(i.payload_template, 'null'),
       cron_expr = i.cron_expr,
       timezone = i.timezone,
       is_active = i.is_active,
       absent_since = NULL,
       next_fire_at = coalesce(i.next_fire_at, s.next_fire_at),
       next_fire_set_at = CASE WHEN i.next_fire_at IS NULL THEN s.next_fire_set_at END,
       deferred_due_at = CASE WHEN i.next_fire_at IS NULL THEN s.deferred_due_at END,
       max_jitter_seconds = i.max_jitter_seconds,
       catch_up = i.catch_up,
       catch_up_limit = i.catch_up_limit,
       overlap = i.overlap,
       updated_at = now()
  FROM input, jsonb_to_recordset(input.doc -> 'schedules') AS i (
       schedule_id uuid, job_type text, payload_template jsonb, cron_expr text, timezone text, is_active boolean,
       next_fire_at timestamptz, max_jitter_seconds integer, catch_up text, catch_up_limit integer, overlap text)
 WHERE s.id = i.schedule_id
   AND (s.absent_since IS NOT NULL
        OR i.next_fire_at IS NOT NULL
        OR (s.job_type, s.payload_template, s.cron_expr, s.timezone, s.is_active, s.max_jitter_seconds, s.catch_up,
            s.catch_up_limit, s.overlap)
           IS DISTINCT FROM
           (i.job_type, coalesce(i.payload_template, 'null'), i.cron_expr, i.timezone, i.is_active,
            i.max_jitter_seconds, i.catch_up, i.catch_up_limit, i.overlap))
RETURNING s.name
