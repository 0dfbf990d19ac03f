-- List runtime configs by type; the optional filter is one type. Index: primary key for the order; the table is small.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT c.job_type, c.schema_version, c.config::text AS config_json, c.updated_by_user_id, c.created_at, c.updated_at
  FROM {schema}.job_runtime_configs AS c
 WHERE (SELECT doc ->> 'job_type' FROM input) IS NULL OR c.job_type = (SELECT doc ->> 'job_type' FROM input)
 ORDER BY c.job_type
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
OFFSET (SELECT (doc ->> 'offset')::bigint FROM input)
