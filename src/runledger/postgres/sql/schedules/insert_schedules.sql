-- Insert schedules. Guard: ON CONFLICT DO NOTHING; a name that does not come back was taken by somebody else meanwhile,
-- and the caller looks again. Rows are written in the order of their names, as all locks of schedules.
-- Index: uq_job_schedules_name.
WITH input AS (SELECT $1::jsonb AS doc)
INSERT INTO {schema}.job_schedules
       (id, name, job_type, organization_id, payload_template, cron_expr, timezone, is_active, next_fire_at,
        max_jitter_seconds, catch_up, catch_up_limit, overlap, owner, catalog_scope)
SELECT i.schedule_id, i.name, i.job_type, i.organization_id,
       -- recordset turns a JSON null into an SQL NULL; a template is always given, so NULL can only mean that
       coalesce(i.payload_template, 'null'),
       i.cron_expr, i.timezone, i.is_active, i.next_fire_at, i.max_jitter_seconds, i.catch_up, i.catch_up_limit,
       i.overlap, i.owner, i.catalog_scope
  FROM input, jsonb_to_recordset(input.doc -> 'schedules') AS i (
       schedule_id uuid, name text, job_type text, organization_id uuid, payload_template jsonb, cron_expr text,
       timezone text, is_active boolean, next_fire_at timestamptz, max_jitter_seconds integer, catch_up text,
       catch_up_limit integer, overlap text, owner text, catalog_scope text)
 ORDER BY i.name
    ON CONFLICT (name) DO NOTHING
RETURNING name
