-- Stop a schedule from firing. Whoever does this means it: a catalog that had paused the schedule because it does not
-- declare it does not start it any more when it declares it again. No row back: there is none in the scope.
-- `scope` as get_schedule. Index: uq_job_schedules_name.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_schedules AS s
   SET is_active = false,
       absent_since = NULL,
       updated_at = now()
 WHERE s.name = (SELECT doc ->> 'name' FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN s.organization_id IS NULL
            ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
RETURNING s.id AS schedule_id
