-- Pause a job type: claims that begin when this is committed leave its jobs out. One that is paused stays as it is.
-- No row back: the type is unknown. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_definitions AS d
   SET paused_at = coalesce(d.paused_at, (SELECT (doc ->> 'now')::timestamptz FROM input), now()),
       updated_at = coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), now())
 WHERE d.job_type = (SELECT doc ->> 'job_type' FROM input)
RETURNING d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, d.is_enabled, d.paused_at,
          d.catalog_scope
