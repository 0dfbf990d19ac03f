-- The leases that a worker holds. Asked after a claim whose answer was lost, to find claims nobody remembers.
-- Index: idx_job_queue_leased_expiry, which holds leased rows only.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id, q.run_number, q.attempt, q.worker_id
  FROM {schema}.job_queue AS q
 WHERE q.status = 'LEASED'
   AND q.lease_expires_at > coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
   AND q.worker_id = (SELECT doc ->> 'worker_id' FROM input)
