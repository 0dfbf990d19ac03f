-- Store the runtime config of a job type that has none; one that is there stays as an operator may have set it.
-- Guard: ON CONFLICT DO NOTHING, the foreign key to job_definitions, and the checks. No row back: there is one.
-- Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
INSERT INTO {schema}.job_runtime_configs (job_type, schema_version, config, updated_by_user_id)
SELECT doc ->> 'job_type', (doc ->> 'schema_version')::integer, doc -> 'config', (doc ->> 'updated_by_user_id')::uuid
  FROM input
    ON CONFLICT (job_type) DO NOTHING
RETURNING job_type
