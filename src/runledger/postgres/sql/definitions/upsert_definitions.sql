-- Insert job definitions, or overwrite all their fields.
-- The catalog that owns one stays its owner. Guard: none.
-- Existing jobs are untouched: they copied their defaults when they were enqueued.
-- Rows are written in the order of job_type, so that two writers of the same set cannot deadlock.
WITH input AS (SELECT $1::jsonb AS doc)
INSERT INTO {schema}.job_definitions AS d
       (job_type, version, max_attempts, default_timeout_seconds, default_priority, is_enabled)
SELECT i.job_type, i.version, i.max_attempts, i.default_timeout_seconds, i.default_priority, i.is_enabled
  FROM input, jsonb_to_recordset(input.doc -> 'definitions') AS i (
       job_type text, version integer, max_attempts integer, default_timeout_seconds integer,
       default_priority integer, is_enabled boolean)
 ORDER BY i.job_type
    ON CONFLICT (job_type) DO UPDATE
   SET version = excluded.version,
       max_attempts = excluded.max_attempts,
       default_timeout_seconds = excluded.default_timeout_seconds,
       default_priority = excluded.default_priority,
       is_enabled = excluded.is_enabled,
       absent_since = NULL,
       updated_at = now()
