-- Count jobs, as far as scan_limit rows tell: scanned_count says how many were read, and when it is the limit there may be
-- more. Of jobs that are PENDING, LEASED, DEAD_LETTERED or CANCELED only those are read, of others the newest of all.
-- Index: idx_job_queue_claim, idx_job_queue_leased_expiry, idx_job_queue_given_up, or job_queue_pkey backwards; each
-- branch says what its index wants to hear, and reads in its order.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc ->> 'status' AS status, (doc ->> 'scan_limit')::bigint AS scan_limit FROM input
),
scanned AS MATERIALIZED (
    (SELECT q.job_type, q.organization_id, q.status
       FROM {schema}.job_queue AS q
      WHERE (SELECT status FROM parameter) = 'PENDING' AND q.status = 'PENDING' AND q.attempt >= 0
      ORDER BY q.priority DESC, q.next_run_at, q.id
      LIMIT (SELECT scan_limit FROM parameter))
    UNION ALL
    (SELECT q.job_type, q.organization_id, q.status
       FROM {schema}.job_queue AS q
      WHERE (SELECT status FROM parameter) = 'LEASED' AND q.status = 'LEASED'
      ORDER BY q.lease_expires_at
      LIMIT (SELECT scan_limit FROM parameter))
    UNION ALL
    (SELECT q.job_type, q.organization_id, q.status
       FROM {schema}.job_queue AS q
      WHERE (SELECT status FROM parameter) IN ('DEAD_LETTERED', 'CANCELED')
        AND q.status IN ('DEAD_LETTERED', 'CANCELED')
        AND q.status = (SELECT status::{schema}.job_status FROM parameter)
      ORDER BY q.id DESC
      LIMIT (SELECT scan_limit FROM parameter))
    UNION ALL
    (SELECT q.job_type, q.organization_id, q.status
       FROM {schema}.job_queue AS q
      WHERE coalesce((SELECT status FROM parameter), 'SUCCEEDED') = 'SUCCEEDED'
      ORDER BY q.id DESC
      LIMIT (SELECT scan_limit FROM parameter))
)
SELECT count(*) AS scanned_count,
       count(*) FILTER (
           WHERE CASE (SELECT doc ->> 'scope' FROM input)
                WHEN 'any' THEN true
                WHEN 'global' THEN s.organization_id IS NULL
                ELSE s.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
       AND ((SELECT doc ->> 'job_type' FROM input) IS NULL OR s.job_type = (SELECT doc ->> 'job_type' FROM input))
       AND ((SELECT doc ->> 'job_type_contains' FROM input) IS NULL
            OR strpos(lower(s.job_type), lower((SELECT doc ->> 'job_type_contains' FROM input))) > 0)
       AND ((SELECT status FROM parameter) IS NULL OR s.status::text = (SELECT status FROM parameter))
       ) AS matching_count
  FROM scanned AS s
