-- Count what each job type has waiting and running, and what its attempts came to that began after `since`. A row for every
-- definition, or for one. The percentiles are those of all attempts that the scope shows.
-- At most count_limit jobs that wait are counted for each type; one more says that there may be others.
-- An attempt without an outcome succeeded, or was canceled: as long as the job is where that attempt left it, its status
-- tells, later its events do. The LIMIT 1 keeps the planner from joining the whole table of jobs.
-- Index: idx_job_attempts_created_at for the attempts (block ranges; both bounds are given for the planner's sake), primary
-- keys for their jobs and events, idx_job_queue_claim_type, idx_job_queue_leased_expiry, idx_job_dead_letters_failed_at.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'at')::timestamptz AS at,
           (doc ->> 'since')::timestamptz AS since,
           (doc ->> 'count_limit')::bigint AS count_limit,
           doc ->> 'job_type' AS job_type,
           doc ->> 'scope' AS scope,
           (doc ->> 'organization_id')::uuid AS organization_id
      FROM input
),
defined AS MATERIALIZED (
    SELECT d.job_type, d.paused_at
      FROM {schema}.job_definitions AS d
     WHERE (SELECT job_type FROM parameter) IS NULL OR d.job_type = (SELECT job_type FROM parameter)
),
pending AS MATERIALIZED (
    SELECT d.job_type, w.pending_count
      FROM defined AS d
     CROSS JOIN LATERAL (
           SELECT count(*) AS pending_count
             FROM (SELECT q.id
                     FROM {schema}.job_queue AS q
                    WHERE q.job_type = d.job_type AND q.status = 'PENDING'
                      AND CASE (SELECT scope FROM parameter)
                               WHEN 'any' THEN true
                               WHEN 'global' THEN q.organization_id IS NULL
                               ELSE q.organization_id = (SELECT organization_id FROM parameter) END
                    ORDER BY q.priority DESC, q.next_run_at, q.id
                    LIMIT (SELECT count_limit + 1 FROM parameter)) AS waiting) AS w
),
leased AS MATERIALIZED (
    SELECT q.job_type, count(*) AS leased_count,
           count(*) FILTER (WHERE q.lease_expires_at < (SELECT at FROM parameter)) AS stale_lease_count
      FROM {schema}.job_queue AS q
     WHERE q.status = 'LEASED'
       AND CASE (SELECT scope FROM parameter)
                WHEN 'any' THEN true
                WHEN 'global' THEN q.organization_id IS NULL
                ELSE q.organization_id = (SELECT organization_id FROM parameter) END
     GROUP BY q.job_type
),
finished AS MATERIALIZED (
    SELECT j.job_type, a.outcome,
           extract(epoch FROM a.finished_at - a.started_at)::double precision * 1000 AS duration_ms,
           a.outcome IS NULL
           AND NOT CASE WHEN j.run_number = a.run_number AND j.attempt = a.attempt THEN j.status = 'CANCELED'
                        ELSE EXISTS (SELECT
                                       FROM {schema}.job_events AS e
                                      WHERE e.job_id = a.job_id AND e.run_number = a.run_number
                                        AND e.attempt = a.attempt AND e.event_type = 'CANCELED') END AS is_success
      FROM {schema}.job_attempts AS a
     CROSS JOIN LATERAL (
           SELECT q.job_type, q.run_number, q.attempt, q.status
             FROM {schema}.job_queue AS q
            WHERE q.id = a.job_id
              AND CASE (SELECT scope FROM parameter)
                       WHEN 'any' THEN true
                       WHEN 'global' THEN q.organization_id IS NULL
                       ELSE q.organization_id = (SELECT organization_id FROM parameter) END
            LIMIT 1) AS j
     WHERE a.created_at > (SELECT since FROM parameter) AND a.created_at <= (SELECT at FROM parameter)
       AND a.finished_at IS NOT NULL
),
ended AS MATERIALIZED (
    SELECT f.job_type,
           count(*) FILTER (WHERE f.is_success) AS succeeded_count,
           count(*) FILTER (WHERE f.outcome = 'RETRYABLE') AS retryable_count,
           count(*) FILTER (WHERE f.outcome = 'TERMINAL') AS terminal_count,
           count(*) FILTER (WHERE f.outcome = 'PANICKED') AS panicked_count,
           count(*) FILTER (WHERE f.outcome = 'TIMEOUT') AS timeout_count,
           count(*) FILTER (WHERE f.outcome IS NULL AND NOT f.is_success) AS canceled_count,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY f.duration_ms) AS p50_duration_ms,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY f.duration_ms) AS p95_duration_ms
      FROM finished AS f
     GROUP BY f.job_type
),
given_up AS MATERIALIZED (
    SELECT d.job_type, count(*) AS dead_lettered_count
      FROM {schema}.job_dead_letters AS d
     WHERE d.failed_at > (SELECT since FROM parameter) AND d.failed_at <= (SELECT at FROM parameter)
       AND CASE (SELECT scope FROM parameter)
                WHEN 'any' THEN true
                WHEN 'global' THEN d.organization_id IS NULL
                ELSE d.organization_id = (SELECT organization_id FROM parameter) END
     GROUP BY d.job_type
)
SELECT d.job_type,
       d.paused_at,
       p.pending_count,
       coalesce(l.leased_count, 0) AS leased_count,
       coalesce(l.stale_lease_count, 0) AS stale_lease_count,
       coalesce(e.succeeded_count, 0) AS succeeded_count,
       coalesce(e.retryable_count, 0) AS retryable_count,
       coalesce(e.terminal_count, 0) AS terminal_count,
       coalesce(e.panicked_count, 0) AS panicked_count,
       coalesce(e.timeout_count, 0) AS timeout_count,
       coalesce(e.canceled_count, 0) AS canceled_count,
       coalesce(g.dead_lettered_count, 0) AS dead_lettered_count,
       e.p50_duration_ms,
       e.p95_duration_ms
  FROM defined AS d
  JOIN pending AS p USING (job_type)
  LEFT JOIN leased AS l USING (job_type)
  LEFT JOIN ended AS e USING (job_type)
  LEFT JOIN given_up AS g USING (job_type)
 ORDER BY d.job_type
