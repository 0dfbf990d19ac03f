-- Say when a schedule is due next. No row back: there is none in the scope. `scope` as get_schedule.
-- Index: uq_job_schedules_name.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_schedules AS s
   SET next_fire_at = (SELECT (doc ->> 'next_fire_at')::timestamptz FROM input),
       deferred_due_at = NULL,
       updated_at = now()
 WHERE s.name = (SELECT doc ->> 'name' FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN s.organization_id IS NULL
            ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
RETURNING s.id AS schedule_id
