-- The payload of the newest job of a type and organization whose payload names a run in its member `run_id`.
-- Index: none. Every job would pay for one on a member of its payload, so the table is read: not for a hot path.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id, q.payload::text AS payload_json
  FROM {schema}.job_queue AS q
 WHERE q.job_type = (SELECT doc ->> 'job_type' FROM input)
   AND q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input)
   AND q.payload['run_id'] = (SELECT to_jsonb(doc ->> 'run_id') FROM input)
 ORDER BY q.created_at DESC, q.id DESC
 LIMIT 1
