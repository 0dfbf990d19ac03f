-- List jobs, newest first, strictly before `before_id`. Ids begin with the time, so their order is that of enqueueing.
-- At most scan_limit rows are read, however few of them the filters let through: scan_end is where that ended, NULL when
-- there was nothing more. There is always a row: without a job it tells the end.
-- The inner LIMIT keeps the filters out of the index scan, which stops as soon as the page is full.
-- Index: job_queue_pkey, backwards; for the end once more, without the table.
WITH input AS (SELECT $1::jsonb AS doc),
scanned AS NOT MATERIALIZED (
    SELECT q.id, q.job_type, q.organization_id, q.status
      FROM {schema}.job_queue AS q
     WHERE q.id < (SELECT (doc ->> 'before_id')::uuid FROM input)
     ORDER BY q.id DESC
     LIMIT (SELECT (doc ->> 'scan_limit')::bigint FROM input)
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
       AND ((SELECT doc ->> 'status' FROM input) IS NULL OR s.status::text = (SELECT doc ->> 'status' FROM input))
     ORDER BY s.id DESC
     LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
),
ended AS MATERIALIZED (
    SELECT CASE WHEN (SELECT count(*) FROM found) < (SELECT (doc ->> 'limit')::bigint FROM input)
                THEN (SELECT q.id
                        FROM {schema}.job_queue AS q
                       WHERE q.id < (SELECT (doc ->> 'before_id')::uuid FROM input)
                       ORDER BY q.id DESC
                      OFFSET (SELECT (doc ->> 'scan_limit')::bigint - 1 FROM input)
                       LIMIT 1) END AS scan_end
)
SELECT q.id, q.job_type, q.organization_id, q.status::text, q.priority, q.run_number, q.attempt, q.max_attempts,
       q.timeout_seconds, q.next_run_at, q.lease_expires_at, q.worker_id, q.started_at, q.finished_at, q.stage,
       q.progress_done, q.progress_total, q.progress_pct, q.status_reason, q.last_error_code, q.last_error_message,
       q.workflow_step_id, q.created_at, q.updated_at,
       e.scan_end
  FROM ended AS e
  LEFT JOIN {schema}.job_queue AS q ON q.id = ANY (ARRAY(SELECT id FROM found))
 ORDER BY q.id DESC
