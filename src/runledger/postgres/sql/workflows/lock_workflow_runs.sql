-- Wait for the locks of runs, and tell where the runs stand once they are held. Whoever ends a step, appends steps,
-- cancels the run or edits a step begins with this, so that a run is advanced by one transaction at a time. What it then
-- reads in its next statement is as the last one has left it.
-- The wait for each lock is bounded by lock_timeout_ms, unless the transaction has a shorter bound; its setting is put
-- back when all locks are held. A wait that takes too long fails with SQLSTATE 55P03.
-- sees_commits: whether the transaction will see what others have committed when the locks are held. One that will not
-- locks nothing: the lock of a run that was changed since its snapshot would fail with SQLSTATE 40001, before sees_commits
-- could say why.
-- Lock order: run rows by id, before any job or step. `scope` as get_job; a run outside is not locked either.
-- There is always a row: without a run it holds sees_commits alone. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
bound AS MATERIALIZED (
    SELECT former,
           (doc ->> 'lock_timeout_ms')::integer AS bound_ms,
           (1000 * extract(epoch FROM former::interval))::integer AS former_ms,
           doc ->> 'scope' AS scope,
           (doc ->> 'organization_id')::uuid AS organization_id,
           ARRAY(SELECT jsonb_array_elements_text(doc -> 'run_ids')::uuid) AS run_ids
      FROM input CROSS JOIN current_setting('lock_timeout') AS former
),
parameter AS MATERIALIZED (
    SELECT former, scope, organization_id, run_ids,
           current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AS sees_commits,
           set_config('lock_timeout',
                      CASE WHEN bound_ms IS NULL OR (former_ms > 0 AND former_ms <= bound_ms) THEN former
                           ELSE bound_ms::text END, true) AS lock_timeout
      FROM bound
),
locked AS MATERIALIZED (
    SELECT r.id, r.status, r.organization_id
      FROM {schema}.workflow_runs AS r
     WHERE (SELECT sees_commits FROM parameter)
       AND r.id = ANY ((SELECT run_ids FROM parameter)::uuid[])
       AND CASE (SELECT scope FROM parameter)
                WHEN 'any' THEN true
                WHEN 'global' THEN r.organization_id IS NULL
                ELSE r.organization_id = (SELECT organization_id FROM parameter) END
     ORDER BY r.id
       FOR NO KEY UPDATE
),
restored AS MATERIALIZED (
    -- Counted first: each lock is held before the setting is put back.
    SELECT count(*) AS run_count, set_config('lock_timeout', (SELECT former FROM parameter), true) AS lock_timeout
      FROM locked
)
SELECT l.id AS run_id, l.status::text, l.organization_id, (SELECT sees_commits FROM parameter) AS sees_commits
  FROM restored AS r LEFT JOIN locked AS l ON true
