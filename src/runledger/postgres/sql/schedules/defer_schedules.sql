-- Put off schedules that cannot fire, so that they leave the window of due ones and starve nobody. The due time that
-- waits is kept. last_fired_at stays. Guard: the caller holds the locks (claim_due_schedules). Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_schedules AS s
   SET deferred_due_at = coalesce(s.deferred_due_at, s.next_fire_at),
       next_fire_at = (SELECT (doc ->> 'retry_at')::timestamptz FROM input),
       updated_at = now()
 WHERE s.id = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'schedule_ids')::uuid FROM input))
