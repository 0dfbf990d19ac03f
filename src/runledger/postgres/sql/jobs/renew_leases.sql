-- Extend leases by the full time to live. The lease keeper's statement for all jobs of its worker; it writes no
-- event, so that a long job does not fill its history (heartbeat_job is the form that does).
-- Guard, lock order and index: as complete_jobs.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, (doc ->> 'now')::timestamptz AS now FROM input
),
locked AS MATERIALIZED (
    SELECT q.id, q.status, q.worker_id, q.run_number, q.attempt, q.lease_expires_at,
           (SELECT jobs FROM parameter) -> q.id::text AS item
      FROM {schema}.job_queue AS q
     WHERE q.id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
     ORDER BY q.id
       FOR NO KEY UPDATE SKIP LOCKED
),
timed AS (
    SELECT l.*, coalesce((SELECT now FROM parameter), clock_timestamp()) AS at FROM locked AS l
),
passed AS MATERIALIZED (
    SELECT id, run_number, attempt, at
      FROM timed
     WHERE status = 'LEASED'
       AND worker_id = (SELECT worker_id FROM parameter)
       AND run_number = (item ->> 'run_number')::integer
       AND attempt = (item ->> 'attempt')::integer
       AND lease_expires_at > at
),
renewed AS (
    UPDATE {schema}.job_queue AS q
       SET lease_expires_at = (SELECT min(at) FROM passed)
               + (SELECT (doc ->> 'lease_ttl_ms')::double precision FROM input) * interval '1 millisecond',
           last_heartbeat_at = (SELECT max(at) FROM passed),
           updated_at = (SELECT max(at) FROM passed)
     WHERE q.id = ANY (ARRAY(SELECT id FROM passed))
)
SELECT id AS job_id FROM passed
