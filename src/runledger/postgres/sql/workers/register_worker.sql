-- Take a worker id for a process that starts. No row comes back while another process keeps it alive.
-- Guard: the row has expired, or is that of the process named by replaces_instance_id, which is known to be dead.
-- Index: the primary key.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc, coalesce((doc ->> 'now')::timestamptz, clock_timestamp()) AS at FROM input
)
INSERT INTO {schema}.job_workers AS w
       (worker_id, instance_id, hostname, process_id, version, job_types, slots, started_at, heartbeat_at, expires_at)
SELECT doc ->> 'worker_id', (doc ->> 'instance_id')::uuid, doc ->> 'hostname', (doc ->> 'process_id')::integer,
       doc ->> 'version', ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types')), (doc ->> 'slots')::integer,
       at, at, at + (doc ->> 'lease_ttl_ms')::double precision * interval '1 millisecond'
  FROM parameter
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
       stopping_at = NULL
 WHERE w.expires_at <= excluded.heartbeat_at
    OR w.instance_id = (SELECT (doc ->> 'replaces_instance_id')::uuid FROM input)
RETURNING started_at
