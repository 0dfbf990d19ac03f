-- Is the lease of a job that appends steps to its run still held? The caller holds the lock of the job, so it stays so
-- until the transaction ends. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id,
           coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS at
      FROM input
),
job AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
)
SELECT id AS job_id
  FROM job
 WHERE status = 'LEASED'
   AND worker_id = (SELECT worker_id FROM parameter)
   AND run_number = (item ->> 'run_number')::integer
   AND attempt = (item ->> 'attempt')::integer
   AND lease_expires_at > (SELECT at FROM parameter)
