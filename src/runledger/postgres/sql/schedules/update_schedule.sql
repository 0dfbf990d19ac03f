-- Change single settings of a schedule; fields absent from the document keep their value. With a new next_fire_at, what was
-- deferred is over, and so is a time that somebody had set by hand.
-- Guard: the caller holds the lock (lock_schedules). Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_schedules AS s
   SET job_type = coalesce((SELECT doc ->> 'job_type' FROM input), s.job_type),
       -- -> gives a JSON null where it is given, and an SQL NULL where nothing is
       payload_template = coalesce((SELECT doc -> 'payload_template' FROM input), s.payload_template),
       cron_expr = coalesce((SELECT doc ->> 'cron_expr' FROM input), s.cron_expr),
       timezone = coalesce((SELECT doc ->> 'timezone' FROM input), s.timezone),
       next_fire_at = coalesce((SELECT (doc ->> 'next_fire_at')::timestamptz FROM input), s.next_fire_at),
       deferred_due_at = CASE WHEN (SELECT doc ? 'next_fire_at' FROM input) THEN NULL ELSE s.deferred_due_at END,
       next_fire_set_at = CASE WHEN (SELECT doc ? 'next_fire_at' FROM input) THEN NULL ELSE s.next_fire_set_at END,
       max_jitter_seconds = coalesce((SELECT (doc ->> 'max_jitter_seconds')::integer FROM input), s.max_jitter_seconds),
       catch_up = coalesce((SELECT doc ->> 'catch_up' FROM input), s.catch_up),
       catch_up_limit = coalesce((SELECT (doc ->> 'catch_up_limit')::integer FROM input), s.catch_up_limit),
       overlap = coalesce((SELECT doc ->> 'overlap' FROM input), s.overlap),
       updated_at = now()
 WHERE s.id = (SELECT (doc ->> 'schedule_id')::uuid FROM input)
