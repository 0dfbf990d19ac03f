-- Read one job definition. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, d.is_enabled, d.paused_at,
       d.catalog_scope
  FROM {schema}.job_definitions AS d
 WHERE d.job_type = (SELECT doc ->> 'job_type' FROM input)
