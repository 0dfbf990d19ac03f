-- The oldest expired leases, for the reaper. Rows that somebody else has locked are skipped here already: a full
-- batch of them would hide the free ones behind. reap_jobs judges again.
-- Index: idx_job_queue_leased_expiry.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id
  FROM {schema}.job_queue AS q
 WHERE q.status = 'LEASED'
   AND q.lease_expires_at < coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
 ORDER BY q.lease_expires_at
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
   FOR NO KEY UPDATE SKIP LOCKED
