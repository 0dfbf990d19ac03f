-- Lease due jobs to a worker: PENDING -> LEASED, one attempt row and one LEASED event each.
-- Guard: status PENDING and due by the database clock, locked with SKIP LOCKED, so two claimers never share a job.
-- Index: idx_job_queue_claim, in its own order; then the primary key, forced by = ANY (ARRAY(...)): an UPDATE that
-- joins the candidates falls into sequential scans on a large or never analysed table.
-- is_start: the caller starts what it claims at once, so stage `running` and the started marker are written here
-- instead of in a second statement.
-- excluded_job_ids: jobs that made an earlier claim fail. Left out rather than judged here: what PostgreSQL refuses is
-- not known before.
-- max_payload_bytes: no further job once the payloads of those before it have reached it. Measured without reading what
-- is stored elsewhere; only a compressed payload is unpacked, since nothing else tells how large it is.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc ->> 'worker_id' AS worker_id,
           doc ->> 'claim_origin' AS claim_origin,
           (doc ->> 'is_start')::boolean AS is_start,
           coalesce((doc ->> 'now')::timestamptz, statement_timestamp()) AS at,
           coalesce((doc ->> 'now')::timestamptz, statement_timestamp())
               + (doc ->> 'lease_ttl_ms')::double precision * interval '1 millisecond' AS lease_expires_at,
           jsonb_build_object('worker_id', doc ->> 'worker_id',
                              'lease_duration_seconds', (doc ->> 'lease_ttl_ms')::numeric / 1000) AS event_payload
      FROM input
),
candidate AS MATERIALIZED (
    SELECT c.id,
           CASE WHEN pg_column_compression(c.payload) IS NULL THEN pg_column_size(c.payload)
                ELSE octet_length(c.payload::text) END AS payload_bytes
      FROM {schema}.job_queue AS c
     WHERE c.status = 'PENDING'
       AND c.next_run_at <= (SELECT at FROM parameter)
       AND ((SELECT doc -> 'job_types' FROM input) IS NULL
            OR c.job_type = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types') FROM input)))
       AND c.id <> ALL (ARRAY(SELECT jsonb_array_elements_text(doc -> 'excluded_job_ids')::uuid FROM input))
     ORDER BY c.priority DESC, c.next_run_at, c.id
     LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
       FOR NO KEY UPDATE SKIP LOCKED
),
summed AS (
    SELECT id, sum(payload_bytes) OVER (ROWS UNBOUNDED PRECEDING) - payload_bytes AS bytes_before FROM candidate
),
claimed AS (
    UPDATE {schema}.job_queue AS q
       SET status = 'LEASED',
           attempt = q.attempt + 1,
           worker_id = (SELECT worker_id FROM parameter),
           lease_expires_at = (SELECT lease_expires_at FROM parameter),
           last_heartbeat_at = (SELECT at FROM parameter),
           started_at = coalesce(q.started_at, (SELECT at FROM parameter)),
           stage = CASE WHEN (SELECT is_start FROM parameter) THEN 'running' ELSE q.stage END,
           updated_at = (SELECT at FROM parameter)
     WHERE q.id = ANY (ARRAY(
           SELECT id
             FROM summed
            WHERE bytes_before < coalesce((SELECT (doc ->> 'max_payload_bytes')::bigint FROM input),
                                          9223372036854775807)))
    RETURNING q.id, q.job_type, q.organization_id, q.payload, q.run_number, q.attempt, q.max_attempts,
              q.timeout_seconds, q.priority, q.checkpoint, q.next_run_at
),
opened_attempt AS (
    INSERT INTO {schema}.job_attempts
           (job_id, run_number, attempt, worker_id, claim_origin, leased_at, started_at,
            execution_started_persisted_at, created_at)
    SELECT c.id, c.run_number, c.attempt, p.worker_id, p.claim_origin, p.at, p.at,
           CASE WHEN p.is_start THEN p.at END, p.at
      FROM claimed AS c, parameter AS p
),
leased_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT c.id, c.run_number, c.attempt, 'LEASED', p.event_payload, p.at
      FROM claimed AS c, parameter AS p
)
SELECT c.id AS job_id, c.job_type, c.organization_id, c.payload::text AS payload_json, c.run_number, c.attempt,
       c.max_attempts, c.timeout_seconds, c.priority, c.checkpoint::text AS checkpoint_json,
       p.worker_id, p.at AS leased_at, p.lease_expires_at
  FROM claimed AS c, parameter AS p
 ORDER BY c.priority DESC, c.next_run_at, c.id
