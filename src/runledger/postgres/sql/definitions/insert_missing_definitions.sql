-- Insert job definitions that do not exist yet; leave the others as an operator may have set them.
-- Guard: ON CONFLICT DO NOTHING. Rows are written in the order of job_type (see upsert_definitions).
WITH input AS (SELECT $1::jsonb AS doc)
INSERT INTO {schema}.job_definitions
       (job_type, version, max_attempts, default_timeout_seconds, default_priority, is_enabled)
SELECT i.job_type, i.version, i.max_attempts, i.default_timeout_seconds, i.default_priority, i.is_enabled
  FROM input, jsonb_to_recordset(input.doc -> 'definitions') AS i (
       job_type text, version integer, max_attempts integer, default_timeout_seconds integer,
       default_priority integer, is_enabled boolean)
 ORDER BY i.job_type
    ON CONFLICT (job_type) DO NOTHING
RETURNING job_type
