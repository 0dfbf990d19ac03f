-- The live leases that a worker holds. Asked after a claim whose answer was lost, to find what it brought.
-- claim_ids: only those that these claims brought. The worker's id alone does not say whose they are: another process may
-- have taken it over.
-- Index: idx_job_queue_leased_expiry, which holds leased rows only; attempts by their key, one look-up for each of them.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id, q.run_number, q.attempt, q.worker_id
  FROM {schema}.job_queue AS q
 WHERE q.status = 'LEASED'
   AND q.lease_expires_at > coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
   AND q.worker_id = (SELECT doc ->> 'worker_id' FROM input)
   AND ((SELECT doc -> 'claim_ids' FROM input) IS NULL
        OR (SELECT a.claim_id
              FROM {schema}.job_attempts AS a
             WHERE a.job_id = q.id AND a.run_number = q.run_number AND a.attempt = q.attempt)
           = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'claim_ids')::uuid FROM input)))
