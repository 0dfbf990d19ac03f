-- Read the definitions that a catalog declares or owns, as they are now that their locks are held
-- (insert_catalog_definitions). Index: none that serves both conditions; the table is small.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, d.is_enabled,
       d.paused_at, d.catalog_scope, d.absent_since IS NOT NULL AS is_absent
  FROM {schema}.job_definitions AS d
 WHERE d.job_type = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types') FROM input))
    OR d.catalog_scope = (SELECT doc ->> 'catalog_scope' FROM input)
 ORDER BY d.job_type
