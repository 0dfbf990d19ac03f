-- Extend leases by the full time to live. The lease keeper's statement for all jobs of its worker; it writes no
-- event, so that a long job does not fill its history (heartbeat_job is the form that does). With an instance_id it
-- is the heartbeat of the worker as well: is_registered tells whether the worker id is still its own.
-- Guard, lock order and index: as complete_jobs; then the worker's row by its primary key. It may be gone, if the
-- worker was silent for long, and is written anew, unless another process has the id now.
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
),
beat AS MATERIALIZED (
    SELECT doc, coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS at FROM input WHERE doc ? 'instance_id'
),
registered AS (
    INSERT INTO {schema}.job_workers AS w
           (worker_id, instance_id, hostname, process_id, version, job_types, slots, started_at, heartbeat_at,
            expires_at, stopping_at)
    SELECT doc ->> 'worker_id', (doc ->> 'instance_id')::uuid, doc ->> 'hostname', (doc ->> 'process_id')::integer,
           doc ->> 'version', ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types')), (doc ->> 'slots')::integer,
           (doc ->> 'started_at')::timestamptz, at,
           at + (doc ->> 'lease_ttl_ms')::double precision * interval '1 millisecond',
           CASE WHEN doc ? 'is_stopping' THEN at END
      FROM beat
        ON CONFLICT (worker_id) DO UPDATE
       SET instance_id = excluded.instance_id,
           hostname = excluded.hostname,
           process_id = excluded.process_id,
           version = excluded.version,
           job_types = excluded.job_types,
           slots = excluded.slots,
           started_at = excluded.started_at,
           heartbeat_at = excluded.heartbeat_at,
           expires_at = excluded.expires_at,
           stopping_at = CASE WHEN excluded.stopping_at IS NOT NULL
                              THEN coalesce(w.stopping_at, excluded.stopping_at) END
     WHERE w.instance_id = excluded.instance_id OR w.expires_at <= excluded.heartbeat_at
    RETURNING w.worker_id
)
SELECT p.id AS job_id, EXISTS (SELECT FROM registered) AS is_registered
  FROM (VALUES (true)) AS always (yes)
  LEFT JOIN passed AS p ON always.yes
