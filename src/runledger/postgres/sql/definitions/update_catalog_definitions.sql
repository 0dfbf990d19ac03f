-- Give definitions the given fields and owner; without `catalog_scope` nobody owns one any more. `is_absent` notes that the
-- catalog has disabled one because it does not declare it any more. Guard: the caller holds the locks and knows the rows
-- (insert_catalog_definitions). Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_definitions AS d
   SET version = i.version,
       max_attempts = i.max_attempts,
       default_timeout_seconds = i.default_timeout_seconds,
       default_priority = i.default_priority,
       is_enabled = i.is_enabled,
       catalog_scope = i.catalog_scope,
       absent_since = CASE WHEN i.is_absent THEN now() END,
       updated_at = now()
  FROM input, jsonb_to_recordset(input.doc -> 'definitions') AS i (
       job_type text, version integer, max_attempts integer, default_timeout_seconds integer,
       default_priority integer, is_enabled boolean, catalog_scope text, is_absent boolean)
 WHERE d.job_type = i.job_type
