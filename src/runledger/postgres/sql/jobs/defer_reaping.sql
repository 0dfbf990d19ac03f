-- Move the expiry of a lease that could not be reaped into the future, so that it leaves the reaper's window and
-- starves nobody. Status stays LEASED, no event is written. Guard: still LEASED. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
UPDATE {schema}.job_queue AS q
   SET lease_expires_at = coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), now())
           + (SELECT (doc ->> 'retry_delay_ms')::double precision FROM input) * interval '1 millisecond'
 WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
   AND q.status = 'LEASED'
