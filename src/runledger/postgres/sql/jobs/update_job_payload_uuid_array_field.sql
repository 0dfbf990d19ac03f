-- Set one member of a job's payload to an array of uuids; the other members stay.
-- Guard: organization and type, and that the payload is an object; no row back otherwise. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_queue AS q
   SET payload = jsonb_set(
           q.payload, ARRAY[(SELECT doc ->> 'field' FROM input)],
           to_jsonb(ARRAY(SELECT jsonb_array_elements_text(doc -> 'uuids') FROM input))),
       updated_at = coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), now())
 WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
   AND q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input)
   AND q.job_type = (SELECT doc ->> 'job_type' FROM input)
   AND jsonb_typeof(q.payload) = 'object'
RETURNING q.id AS job_id
