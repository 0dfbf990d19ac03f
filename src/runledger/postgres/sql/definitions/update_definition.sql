-- Change single fields of a definition; fields absent from the document keep their value.
-- No row back: the type is unknown. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_definitions AS d
   SET max_attempts = coalesce((SELECT (doc ->> 'max_attempts')::integer FROM input), d.max_attempts),
       default_timeout_seconds = coalesce(
           (SELECT (doc ->> 'default_timeout_seconds')::integer FROM input), d.default_timeout_seconds),
       default_priority = coalesce((SELECT (doc ->> 'default_priority')::integer FROM input), d.default_priority),
       is_enabled = coalesce((SELECT (doc ->> 'is_enabled')::boolean FROM input), d.is_enabled),
       -- who says whether it is enabled takes that over from a catalog that does not declare it any more
       absent_since = CASE WHEN (SELECT doc ? 'is_enabled' FROM input) THEN NULL ELSE d.absent_since END,
       updated_at = now()
 WHERE d.job_type = (SELECT doc ->> 'job_type' FROM input)
RETURNING d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, d.is_enabled, d.paused_at,
          d.catalog_scope
