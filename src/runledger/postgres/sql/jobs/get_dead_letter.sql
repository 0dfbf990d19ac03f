-- The latest dead letter of a job. Scope as list_job_events; the letter carries the job's organization itself.
-- Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT d.job_id, d.job_type, d.organization_id, d.run_number, d.attempt, d.error_code, d.error_message,
       d.payload_snapshot::text AS payload_snapshot_json, d.checkpoint_snapshot::text AS checkpoint_snapshot_json,
       d.failed_at
  FROM {schema}.job_dead_letters AS d
 WHERE d.job_id = (SELECT (doc ->> 'job_id')::uuid FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN d.organization_id IS NULL
            ELSE d.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
