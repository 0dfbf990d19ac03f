-- Read one schedule by its name. `scope` is any, global (schedules of no organization) or organization.
-- Index: uq_job_schedules_name.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT s.id AS schedule_id, s.name, s.job_type, s.organization_id, s.payload_template::text AS payload_template_json,
       s.cron_expr, s.timezone, s.is_active, s.next_fire_at, s.deferred_due_at, s.last_fired_at, s.last_job_id,
       s.max_jitter_seconds, s.catch_up, s.catch_up_limit, s.overlap, s.owner, s.catalog_scope, s.absent_since,
       s.created_at, s.updated_at
  FROM {schema}.job_schedules AS s
 WHERE s.name = (SELECT doc ->> 'name' FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN s.organization_id IS NULL
            ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
