-- The leases that a worker holds. Asked after a claim whose answer was lost, to find claims nobody remembers.
-- Guard: with an instance_id none, if another process has taken the worker's id: then they are leases of that one.
-- Index: idx_job_queue_leased_expiry, which holds leased rows only.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id, q.run_number, q.attempt, q.worker_id
  FROM {schema}.job_queue AS q
 WHERE q.status = 'LEASED'
   AND q.lease_expires_at > coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
   AND q.worker_id = (SELECT doc ->> 'worker_id' FROM input)
   AND NOT EXISTS (
           SELECT
             FROM {schema}.job_workers AS w
            WHERE w.worker_id = (SELECT doc ->> 'worker_id' FROM input)
              AND w.instance_id <> (SELECT (doc ->> 'instance_id')::uuid FROM input))
