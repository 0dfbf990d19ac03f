-- The payload of the job that was enqueued with a key in an organization; never one of no organization.
-- Index: uq_job_queue_type_idempotency_org.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id, q.payload::text AS payload_json
  FROM {schema}.job_queue AS q
 WHERE q.job_type = (SELECT doc ->> 'job_type' FROM input)
   AND q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input)
   AND q.idempotency_key = (SELECT doc ->> 'idempotency_key' FROM input)
