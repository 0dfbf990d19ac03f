-- Lease due jobs to a worker: PENDING -> LEASED, one attempt row and one LEASED event each.
-- Guard: status PENDING and due by the database clock, locked with SKIP LOCKED, so two claimers never share a job.
-- Index: idx_job_queue_claim_type, once for each type that is asked for, merged in the order of the claim; so what
-- waits of other types costs nothing. For any type, and for more than 16, idx_job_queue_claim in its own order. The
-- merge is lazy: it reads as many rows as it takes to lock the limit, and one ahead of each type. Rows are locked in its
-- order one by one through the primary key, since a lock inside the branches would lock those ahead as well.
-- Four things are there for the planner (docs/decisions/0036). Each branch has an ORDER BY, else everything that is due
-- is sorted, and a LIMIT, else all of a branch is read and sorted; it is NULL, which is none. Only the first branch says
-- attempt >= 0, without which idx_job_queue_claim cannot be taken: where one type makes up the table it looks as good
-- for that type. And the lock compares status with no constant, else it may go over a claim index.
-- Then the primary key again, forced by = ANY (ARRAY(...)): an UPDATE that joins the candidates falls into sequential
-- scans on a large or never analysed table.
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
           CASE WHEN doc -> 'job_types' IS NOT NULL
                THEN ARRAY(SELECT DISTINCT jsonb_array_elements_text(doc -> 'job_types')) END AS job_types,
           'PENDING'::{schema}.job_status AS pending,
           NULL::bigint AS no_limit,
           coalesce((doc ->> 'now')::timestamptz, statement_timestamp()) AS at,
           coalesce((doc ->> 'now')::timestamptz, statement_timestamp())
               + (doc ->> 'lease_ttl_ms')::double precision * interval '1 millisecond' AS lease_expires_at,
           jsonb_build_object('worker_id', doc ->> 'worker_id',
                              'lease_duration_seconds', (doc ->> 'lease_ttl_ms')::numeric / 1000) AS event_payload
      FROM input
),
merged_types AS MATERIALIZED (
    -- NULL: one branch for all, and no type for the others.
    SELECT CASE WHEN cardinality(job_types) <= 16 THEN job_types END AS job_types FROM parameter
),
due AS NOT MATERIALIZED (
    SELECT q.id, q.job_type, q.priority, q.next_run_at, q.attempt
      FROM {schema}.job_queue AS q
     WHERE q.status = 'PENDING'
       AND q.next_run_at <= (SELECT at FROM parameter)
       AND q.id <> ALL (ARRAY(SELECT jsonb_array_elements_text(doc -> 'excluded_job_ids')::uuid FROM input))
),
candidate AS NOT MATERIALIZED (
    (SELECT d.* FROM due AS d
      WHERE d.attempt >= 0
        AND (SELECT job_types IS NULL FROM merged_types)
        AND ((SELECT job_types IS NULL FROM parameter)
             OR d.job_type = ANY ((SELECT job_types FROM parameter)::text[]))
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[1] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[2] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[3] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[4] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[5] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[6] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[7] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[8] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[9] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[10] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[11] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[12] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[13] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[14] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[15] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
    UNION ALL
    (SELECT d.* FROM due AS d WHERE d.job_type = (SELECT job_types[16] FROM merged_types)
      ORDER BY d.priority DESC, d.next_run_at, d.id LIMIT (SELECT no_limit FROM parameter))
),
picked AS MATERIALIZED (
    SELECT locked.id, locked.payload_bytes
      FROM candidate AS c
     CROSS JOIN LATERAL (
           SELECT l.id,
                  CASE WHEN pg_column_compression(l.payload) IS NULL THEN pg_column_size(l.payload)
                       ELSE octet_length(l.payload::text) END AS payload_bytes
             FROM {schema}.job_queue AS l
            WHERE l.id = c.id AND l.status = (SELECT pending FROM parameter)
              AND l.next_run_at <= (SELECT at FROM parameter)
              FOR NO KEY UPDATE SKIP LOCKED) AS locked
     ORDER BY c.priority DESC, c.next_run_at, c.id
     LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
),
summed AS (
    SELECT id, sum(payload_bytes) OVER (ROWS UNBOUNDED PRECEDING) - payload_bytes AS bytes_before FROM picked
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
