-- Lease due jobs to a worker: PENDING -> LEASED, one attempt row and one LEASED event each. The step of a workflow
-- begins to run with its job: ENQUEUED -> RUNNING. Nobody else changes a step whose job is locked here. Whether more than
-- a thousand others wait for it is told, since its end may take long then.
-- Guard: status PENDING and due by the database clock, locked with SKIP LOCKED, so two claimers never share a job.
-- Index: idx_job_queue_claim_type, three times for each type that is asked for, merged in the order of the claim; so what
-- waits of other types costs nothing. For any type, and for more than 16, idx_job_queue_claim in its own order. The
-- merge is lazy: it reads as many rows as it takes to lock the limit, and one ahead of each branch. Rows are locked in its
-- order one by one through the primary key, since a lock inside the branches would lock those ahead as well.
-- after_*: where the claim before this one ended. Between the start of an index and the first job that waits lie the
-- entries of all that were claimed, as long as some old snapshot may still see them. So of a higher priority than
-- after_priority only what is due after after_watermark is read; of that priority what follows after_next_run_at and
-- after_job_id; of lower ones everything. Without them a claim reads everything that is due (docs/decisions/0053).
-- The block {for n} stands for as many copies as the caller has types (docs/decisions/0036).
-- Six things are there for the planner (docs/decisions/0036). Each branch has an ORDER BY, else everything that is due
-- is sorted, and a LIMIT, else all of a branch is read and sorted; it is NULL, which is none. One priority is written as
-- a range: as a constant it would drop out of the order that the merge wants, and be sorted. Only the branches of any
-- type say attempt >= 0, without which idx_job_queue_claim cannot be taken: where one type makes up the table it looks as
-- good for that type. The lock compares status with no constant, else it may go over a claim index. And coalesce keeps the
-- planner from guessing about paused types: of an unknown list it would believe that it leaves out everything.
-- Then the primary key again, forced by = ANY (ARRAY(...)): an UPDATE that joins the candidates falls into sequential
-- scans on a large or never analysed table.
-- Types that are paused are left out before anything is read (idx_job_definitions_paused, mostly empty: one page). How many
-- branches there must be is said by the types that were asked for: the caller has counted those. A claim of any type reads
-- over what waits of paused ones (docs/decisions/0091).
-- is_start: the caller starts what it claims at once, so stage `running` and the started marker are written here
-- instead of in a second statement.
-- excluded_job_ids: jobs that made an earlier claim fail. Left out rather than judged here: what PostgreSQL refuses is
-- not known before.
-- max_payload_bytes: no further job once the payloads of those before it have reached it. Measured without reading what
-- is stored elsewhere; only a compressed payload is unpacked, since nothing else tells how large it is.
-- claim_id: kept with the attempts, so that whoever got no answer finds what this very claim brought.
-- There is always a row: without a claimed job it holds the instant and no job.
WITH input AS (SELECT $1::jsonb AS doc),
asked AS MATERIALIZED (
    SELECT doc,
           coalesce((doc ->> 'now')::timestamptz, statement_timestamp()) AS at,
           CASE WHEN doc -> 'job_types' IS NOT NULL
                THEN ARRAY(SELECT DISTINCT jsonb_array_elements_text(doc -> 'job_types')) END AS job_types,
           ARRAY(SELECT d.job_type FROM {schema}.job_definitions AS d WHERE d.paused_at IS NOT NULL) AS paused_types
      FROM input
),
wanted AS MATERIALIZED (
    SELECT *,
           CASE WHEN job_types IS NOT NULL
                THEN ARRAY(SELECT t FROM unnest(job_types) AS t WHERE t <> ALL (paused_types)) END AS wanted_types
      FROM asked
),
parameter AS MATERIALIZED (
    SELECT at,
           wanted_types AS job_types,
           paused_types,
           CASE WHEN cardinality(job_types) <= 16 THEN wanted_types END AS merged_types,
           coalesce((doc ->> 'after_watermark')::timestamptz, '-infinity') AS after_watermark,
           coalesce((doc ->> 'after_priority')::integer, -2147483648) AS after_priority,
           coalesce((doc ->> 'after_next_run_at')::timestamptz, '-infinity') AS after_next_run_at,
           coalesce((doc ->> 'after_job_id')::uuid, '00000000-0000-0000-0000-000000000000') AS after_job_id,
           ARRAY(SELECT jsonb_array_elements_text(doc -> 'excluded_job_ids')::uuid) AS excluded_job_ids,
           'PENDING'::{schema}.job_status AS pending,
           NULL::bigint AS no_limit,
           (doc ->> 'limit')::bigint AS row_limit,
           coalesce((doc ->> 'max_payload_bytes')::bigint, 9223372036854775807) AS max_payload_bytes,
           doc ->> 'worker_id' AS worker_id,
           doc ->> 'claim_origin' AS claim_origin,
           (doc ->> 'claim_id')::uuid AS claim_id,
           (doc ->> 'is_start')::boolean AS is_start,
           at + (doc ->> 'lease_ttl_ms')::double precision * interval '1 millisecond' AS lease_expires_at,
           jsonb_build_object('worker_id', doc ->> 'worker_id',
                              'lease_duration_seconds', (doc ->> 'lease_ttl_ms')::numeric / 1000) AS event_payload
      FROM wanted
),
picked AS MATERIALIZED (
    SELECT first.id, first.payload_bytes
      FROM parameter AS p
     CROSS JOIN LATERAL (
           SELECT locked.id, locked.payload_bytes
             FROM ((SELECT q.id, q.priority, q.next_run_at
                      FROM {schema}.job_queue AS q
                     WHERE p.merged_types IS NULL AND (p.job_types IS NULL OR q.job_type = ANY (p.job_types))
                       AND coalesce(q.job_type <> ALL (p.paused_types), true)
                       AND q.status = 'PENDING' AND q.attempt >= 0 AND q.next_run_at <= p.at
                       AND q.priority > p.after_priority AND q.next_run_at > p.after_watermark
                     ORDER BY q.priority DESC, q.next_run_at, q.id LIMIT p.no_limit)
                   UNION ALL
                   (SELECT q.id, q.priority, q.next_run_at
                      FROM {schema}.job_queue AS q
                     WHERE p.merged_types IS NULL AND (p.job_types IS NULL OR q.job_type = ANY (p.job_types))
                       AND coalesce(q.job_type <> ALL (p.paused_types), true)
                       AND q.status = 'PENDING' AND q.attempt >= 0 AND q.next_run_at <= p.at
                       AND q.priority >= p.after_priority AND q.priority <= p.after_priority
                       AND (q.next_run_at, q.id) > (p.after_next_run_at, p.after_job_id)
                     ORDER BY q.priority DESC, q.next_run_at, q.id LIMIT p.no_limit)
                   UNION ALL
                   (SELECT q.id, q.priority, q.next_run_at
                      FROM {schema}.job_queue AS q
                     WHERE p.merged_types IS NULL AND (p.job_types IS NULL OR q.job_type = ANY (p.job_types))
                       AND coalesce(q.job_type <> ALL (p.paused_types), true)
                       AND q.status = 'PENDING' AND q.attempt >= 0 AND q.next_run_at <= p.at
                       AND q.priority < p.after_priority
                     ORDER BY q.priority DESC, q.next_run_at, q.id LIMIT p.no_limit)
                   {for n in 1..16}
                   UNION ALL
                   (SELECT q.id, q.priority, q.next_run_at
                      FROM {schema}.job_queue AS q
                     WHERE q.job_type = p.merged_types[{n}] AND q.status = 'PENDING' AND q.next_run_at <= p.at
                       AND q.priority > p.after_priority AND q.next_run_at > p.after_watermark
                     ORDER BY q.priority DESC, q.next_run_at, q.id LIMIT p.no_limit)
                   UNION ALL
                   (SELECT q.id, q.priority, q.next_run_at
                      FROM {schema}.job_queue AS q
                     WHERE q.job_type = p.merged_types[{n}] AND q.status = 'PENDING' AND q.next_run_at <= p.at
                       AND q.priority >= p.after_priority AND q.priority <= p.after_priority
                       AND (q.next_run_at, q.id) > (p.after_next_run_at, p.after_job_id)
                     ORDER BY q.priority DESC, q.next_run_at, q.id LIMIT p.no_limit)
                   UNION ALL
                   (SELECT q.id, q.priority, q.next_run_at
                      FROM {schema}.job_queue AS q
                     WHERE q.job_type = p.merged_types[{n}] AND q.status = 'PENDING' AND q.next_run_at <= p.at
                       AND q.priority < p.after_priority
                     ORDER BY q.priority DESC, q.next_run_at, q.id LIMIT p.no_limit)
                   {end}
                  ) AS due
            CROSS JOIN LATERAL (
                  SELECT l.id,
                         CASE WHEN pg_column_compression(l.payload) IS NULL THEN pg_column_size(l.payload)
                              ELSE octet_length(l.payload::text) END AS payload_bytes
                    FROM {schema}.job_queue AS l
                   WHERE l.id = due.id AND l.status = p.pending AND l.next_run_at <= p.at
                     AND l.id <> ALL (p.excluded_job_ids)
                     FOR NO KEY UPDATE SKIP LOCKED) AS locked
            ORDER BY due.priority DESC, due.next_run_at, due.id
            LIMIT p.row_limit) AS first
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
           SELECT s.id FROM summed AS s, parameter AS p WHERE s.bytes_before < p.max_payload_bytes))
    RETURNING q.id, q.job_type, q.organization_id, q.payload, q.run_number, q.attempt, q.max_attempts,
              q.timeout_seconds, q.priority, q.next_run_at, q.checkpoint, q.workflow_step_id
),
started_step AS (
    UPDATE {schema}.workflow_steps AS s
       SET status = 'RUNNING',
           started_at = coalesce(s.started_at, (SELECT at FROM parameter)),
           updated_at = (SELECT at FROM parameter)
     WHERE s.id = ANY (ARRAY(SELECT workflow_step_id FROM claimed WHERE workflow_step_id IS NOT NULL))
),
opened_attempt AS (
    INSERT INTO {schema}.job_attempts
           (job_id, run_number, attempt, worker_id, claim_origin, claim_id, leased_at, started_at,
            execution_started_persisted_at, created_at)
    SELECT c.id, c.run_number, c.attempt, p.worker_id, p.claim_origin, p.claim_id, p.at, p.at,
           CASE WHEN p.is_start THEN p.at END, p.at
      FROM claimed AS c, parameter AS p
),
leased_event AS (
    INSERT INTO {schema}.job_events (job_id, run_number, attempt, event_type, payload, occurred_at)
    SELECT c.id, c.run_number, c.attempt, 'LEASED', p.event_payload, p.at
      FROM claimed AS c, parameter AS p
)
SELECT c.id AS job_id, c.job_type, c.organization_id, c.payload::text AS payload_json, c.run_number, c.attempt,
       c.max_attempts, c.timeout_seconds, c.priority, c.next_run_at, c.checkpoint::text AS checkpoint_json,
       p.worker_id, p.at AS leased_at, p.lease_expires_at, (SELECT count(*) FROM picked) AS due_count,
       s.workflow_run_id, s.id AS workflow_step_id, s.step_key AS workflow_step_key,
       coalesce(s.dependent_count, 0) AS workflow_dependent_count
  FROM parameter AS p
  LEFT JOIN claimed AS c ON true
  LEFT JOIN LATERAL (
       SELECT s.id, s.workflow_run_id, s.step_key,
              (SELECT count(*)
                 FROM (SELECT FROM {schema}.workflow_step_dependencies AS d
                        WHERE d.workflow_run_id = s.workflow_run_id AND d.prerequisite_step_id = s.id
                        LIMIT 1001) AS first) AS dependent_count
         FROM {schema}.workflow_steps AS s
        WHERE s.id = c.workflow_step_id OFFSET 0) AS s ON true
 ORDER BY c.priority DESC, c.next_run_at, c.id
