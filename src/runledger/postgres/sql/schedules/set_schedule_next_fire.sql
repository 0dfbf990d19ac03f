-- Say when a schedule is due next, and note since when the expression counts again. No row back: there is none in the
-- scope. `scope` as get_schedule.
-- Index: uq_job_schedules_name.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_schedules AS s
   SET next_fire_at = (SELECT (doc ->> 'next_fire_at')::timestamptz FROM input),
       next_fire_set_at = coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp()),
       deferred_due_at = NULL,
       updated_at = now()
 WHERE s.name = (SELECT doc ->> 'name' FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN s.organization_id IS NULL
            ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
RETURNING s.id AS schedule_id
