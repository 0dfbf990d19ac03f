-- Forget the runtime config of a job type. No row back: it has none. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
DELETE FROM {schema}.job_runtime_configs AS c
 WHERE c.job_type = (SELECT doc ->> 'job_type' FROM input)
RETURNING c.job_type
