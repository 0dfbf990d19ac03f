-- Let a schedule fire again. `next_fire_at` is absent where the stored one still lies ahead; what passed during the pause
-- does not fire. Guard: the caller holds the locks of the definition and of the schedule. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
given AS MATERIALIZED (SELECT (doc ->> 'next_fire_at')::timestamptz AS next_fire_at FROM input)
UPDATE {schema}.job_schedules AS s
   SET is_active = true,
       absent_since = NULL,
       next_fire_at = coalesce((SELECT next_fire_at FROM given), s.next_fire_at),
       next_fire_set_at = CASE WHEN (SELECT next_fire_at FROM given) IS NULL THEN s.next_fire_set_at END,
       deferred_due_at = CASE WHEN (SELECT next_fire_at FROM given) IS NULL THEN s.deferred_due_at END,
       updated_at = now()
 WHERE s.id = (SELECT (doc ->> 'schedule_id')::uuid FROM input)
