-- List job definitions by type. The optional filter is a case-insensitive substring, compared literally
-- (strpos knows no pattern characters). Index: primary key for the order; the table is small.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, d.is_enabled, d.paused_at,
       d.catalog_scope
  FROM {schema}.job_definitions AS d
 WHERE (SELECT doc ->> 'job_type_contains' FROM input) IS NULL
    OR strpos(lower(d.job_type), lower((SELECT doc ->> 'job_type_contains' FROM input))) > 0
 ORDER BY d.job_type
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
OFFSET (SELECT (doc ->> 'offset')::bigint FROM input)
