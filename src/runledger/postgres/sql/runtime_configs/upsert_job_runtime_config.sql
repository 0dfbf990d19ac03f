-- Store the runtime config of a job type, or overwrite version, config and author of the one that it has.
-- Guard: the foreign key to job_definitions, and the checks. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
INSERT INTO {schema}.job_runtime_configs AS c (job_type, schema_version, config, updated_by_user_id)
SELECT doc ->> 'job_type', (doc ->> 'schema_version')::integer, doc -> 'config', (doc ->> 'updated_by_user_id')::uuid
  FROM input
    ON CONFLICT (job_type) DO UPDATE
   SET schema_version = excluded.schema_version,
       config = excluded.config,
       updated_by_user_id = excluded.updated_by_user_id,
       updated_at = now()
RETURNING c.job_type, c.schema_version, c.config::text AS config_json, c.updated_by_user_id, c.created_at, c.updated_at
