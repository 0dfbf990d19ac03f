-- Insert the definitions of a catalog that do not exist yet, and wait for the locks of the others: of those that it
-- declares and, where `is_exact`, of those that it owns and does not declare any more. What comes back was inserted.
-- Guard: ON CONFLICT … WHERE false locks a row and leaves it as it is, whoever it belongs to.
-- Lock order: definitions by type, new and old ones in one pass, as upsert_definitions. Index: primary key; those of a
-- catalog are found by reading the table, which is small.
WITH input AS (SELECT $1::jsonb AS doc),
declared AS (
    SELECT i.job_type, i.version, i.max_attempts, i.default_timeout_seconds, i.default_priority, i.is_enabled
      FROM input, jsonb_to_recordset(input.doc -> 'definitions') AS i (
           job_type text, version integer, max_attempts integer, default_timeout_seconds integer,
           default_priority integer, is_enabled boolean)
),
absent AS (
    SELECT d.job_type, d.version, d.max_attempts, d.default_timeout_seconds, d.default_priority, false AS is_enabled
      FROM {schema}.job_definitions AS d
     WHERE (SELECT (doc ->> 'is_exact')::boolean FROM input)
       AND d.catalog_scope = (SELECT doc ->> 'catalog_scope' FROM input)
       AND d.job_type <> ALL (ARRAY(SELECT job_type FROM declared))
),
wanted AS (
    SELECT * FROM declared UNION ALL SELECT * FROM absent
)
INSERT INTO {schema}.job_definitions AS d
       (job_type, version, max_attempts, default_timeout_seconds, default_priority, is_enabled, catalog_scope)
SELECT w.job_type, w.version, w.max_attempts, w.default_timeout_seconds, w.default_priority, w.is_enabled,
       (SELECT doc ->> 'catalog_scope' FROM input)
  FROM wanted AS w
 ORDER BY w.job_type
    ON CONFLICT (job_type) DO UPDATE
   SET is_enabled = excluded.is_enabled
 WHERE false
RETURNING job_type
