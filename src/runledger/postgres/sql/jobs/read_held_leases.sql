-- Which of these leases are still held? Reads without a lock: an id that a batch statement left out and that is
-- still held was only locked by somebody else at that moment.
-- Index: primary key, forced by materializing: with status and expiry in the same WHERE the planner prefers a walk
-- over idx_job_queue_leased_expiry, through every lease of every worker and all its dead entries.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, (doc ->> 'now')::timestamptz AS now FROM input
),
asked AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
)
SELECT id AS job_id
  FROM asked
 WHERE status = 'LEASED'
   AND worker_id = (SELECT worker_id FROM parameter)
   AND run_number = (item ->> 'run_number')::integer
   AND attempt = (item ->> 'attempt')::integer
   AND lease_expires_at > coalesce((SELECT now FROM parameter), statement_timestamp())
