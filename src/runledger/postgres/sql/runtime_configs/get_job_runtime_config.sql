-- Read the runtime config of a job type. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT c.job_type, c.schema_version, c.config::text AS config_json, c.updated_by_user_id, c.created_at, c.updated_at
  FROM {schema}.job_runtime_configs AS c
 WHERE c.job_type = (SELECT doc ->> 'job_type' FROM input)
