-- List jobs that are PENDING, or those that are LEASED, newest first, strictly before `before_id`.
-- No index has them in this order: each job would write it at every transition. So all of them are read and sorted, as
-- long as they are no more than scan_limit; if they are, is_too_many says so, and the caller asks list_jobs, to which
-- so many are no needles in a haystack. There is always a row: without a job it tells that.
-- Index: idx_job_queue_claim, which wants to hear that attempt >= 0, or idx_job_queue_leased_expiry; in its order, so that a
-- planner without statistics does not read the table instead.
WITH input AS (SELECT $1::jsonb AS doc),
scanned AS MATERIALIZED (
    (SELECT q.id, q.job_type, q.organization_id
       FROM {schema}.job_queue AS q
      WHERE (SELECT doc ->> 'status' FROM input) = 'PENDING' AND q.status = 'PENDING' AND q.attempt >= 0
      ORDER BY q.priority DESC, q.next_run_at, q.id
      LIMIT (SELECT (doc ->> 'scan_limit')::bigint + 1 FROM input))
    UNION ALL
    (SELECT q.id, q.job_type, q.organization_id
       FROM {schema}.job_queue AS q
      WHERE (SELECT doc ->> 'status' FROM input) = 'LEASED' AND q.status = 'LEASED'
      ORDER BY q.lease_expires_at
      LIMIT (SELECT (doc ->> 'scan_limit')::bigint + 1 FROM input))
),
read AS MATERIALIZED (
    SELECT count(*) > (SELECT (doc ->> 'scan_limit')::bigint FROM input) AS is_too_many FROM scanned
),
found AS MATERIALIZED (
    SELECT s.id
      FROM scanned AS s
     WHERE CASE (SELECT doc ->> 'scope' FROM input)
                WHEN 'any' THEN true
                WHEN 'global' THEN s.organization_id IS NULL
                ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
       AND ((SELECT doc ->> 'job_type' FROM input) IS NULL OR s.job_type = (SELECT doc ->> 'job_type' FROM input))
       AND ((SELECT doc ->> 'job_type_contains' FROM input) IS NULL
            OR strpos(lower(s.job_type), lower((SELECT doc ->> 'job_type_contains' FROM input))) > 0)
       AND s.id < (SELECT (doc ->> 'before_id')::uuid FROM input)
       AND NOT (SELECT is_too_many FROM read)
     ORDER BY s.id DESC
     LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
)
SELECT q.id, q.job_type, q.organization_id, q.status::text, q.priority, q.run_number, q.attempt, q.max_attempts,
       q.timeout_seconds, q.next_run_at, q.lease_expires_at, q.worker_id, q.started_at, q.finished_at, q.stage,
       q.progress_done, q.progress_total, q.progress_pct, q.status_reason, q.last_error_code, q.last_error_message,
       q.workflow_step_id, q.created_at, q.updated_at,
       r.is_too_many
  FROM read AS r
  LEFT JOIN {schema}.job_queue AS q ON q.id = ANY (ARRAY(SELECT id FROM found))
 ORDER BY q.id DESC
