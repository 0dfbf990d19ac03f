-- List dead letters, latest first, strictly before (before_at, before_job_id), without their snapshots.
-- At most scan_limit rows are read, however few of them the filters let through; scan_end_* is where that ended, NULL when
-- there was nothing more. There is always a row.
-- Index: idx_job_dead_letters_failed_at; letters of one instant are sorted by job.
WITH input AS (SELECT $1::jsonb AS doc),
scanned AS MATERIALIZED (
    SELECT d.job_id, d.job_type, d.organization_id, d.run_number, d.attempt, d.error_code, d.error_message, d.failed_at
      FROM {schema}.job_dead_letters AS d
     WHERE d.failed_at <= (SELECT (doc ->> 'before_at')::timestamptz FROM input)
       AND (d.failed_at, d.job_id) < ((SELECT (doc ->> 'before_at')::timestamptz FROM input),
                                      (SELECT (doc ->> 'before_job_id')::uuid FROM input))
     ORDER BY d.failed_at DESC, d.job_id DESC
     LIMIT (SELECT (doc ->> 'scan_limit')::bigint FROM input)
),
found AS MATERIALIZED (
    SELECT *
      FROM scanned AS s
     WHERE CASE (SELECT doc ->> 'scope' FROM input)
                WHEN 'any' THEN true
                WHEN 'global' THEN s.organization_id IS NULL
                ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
       AND ((SELECT doc ->> 'job_type' FROM input) IS NULL OR s.job_type = (SELECT doc ->> 'job_type' FROM input))
       AND ((SELECT doc ->> 'job_type_contains' FROM input) IS NULL
            OR strpos(lower(s.job_type), lower((SELECT doc ->> 'job_type_contains' FROM input))) > 0)
     ORDER BY s.failed_at DESC, s.job_id DESC
     LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
),
ended AS MATERIALIZED (
    SELECT l.failed_at AS scan_end_at, l.job_id AS scan_end_job_id
      FROM (SELECT count(*) AS scanned_count FROM scanned) AS c
      LEFT JOIN LATERAL (
           SELECT s.failed_at, s.job_id
             FROM scanned AS s
            WHERE c.scanned_count = (SELECT (doc ->> 'scan_limit')::bigint FROM input)
            ORDER BY s.failed_at, s.job_id LIMIT 1) AS l ON true
)
SELECT f.job_id, f.job_type, f.organization_id, f.run_number, f.attempt, f.error_code, f.error_message, f.failed_at,
       e.scan_end_at, e.scan_end_job_id
  FROM ended AS e LEFT JOIN found AS f ON true
 ORDER BY f.failed_at DESC, f.job_id DESC
