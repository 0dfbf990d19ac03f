-- Wait for the locks of schedules, and tell what they are once they are held: one row for each name, without id where
-- there is no such schedule. `at` is the time of the database with the locks held. `is_visible` tells whether the scope
-- of the caller has the schedule; `scope` as get_schedule.
-- Lock order: schedules by name, after definitions. Index: uq_job_schedules_name.
WITH input AS (SELECT $1::jsonb AS doc),
locked AS MATERIALIZED (
    SELECT s.id, s.name, s.job_type, s.organization_id, s.cron_expr, s.timezone, s.max_jitter_seconds, s.is_active,
           s.next_fire_at, s.owner, s.catalog_scope, s.absent_since
      FROM {schema}.job_schedules AS s
     WHERE s.name = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'names') FROM input))
     ORDER BY s.name
       FOR NO KEY UPDATE
)
SELECT n.name, l.id AS schedule_id, l.job_type, l.cron_expr, l.timezone, l.max_jitter_seconds, l.is_active,
       l.next_fire_at, l.owner, l.catalog_scope, l.absent_since IS NOT NULL AS is_absent,
       CASE WHEN l.id IS NULL THEN NULL
            ELSE CASE (SELECT doc ->> 'scope' FROM input)
                      WHEN 'any' THEN true
                      WHEN 'global' THEN l.organization_id IS NULL
                      ELSE coalesce(l.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input), false)
                 END END AS is_visible,
       coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), clock_timestamp()) AS at
  FROM input CROSS JOIN LATERAL jsonb_array_elements_text(input.doc -> 'names') AS n (name)
  LEFT JOIN locked AS l ON l.name = n.name
 ORDER BY n.name
