-- Take the locks of those runs that nobody holds, without waiting: for batches, of which one run must not hold up the
-- others, and for whoever holds locks of jobs already, which come later in the lock order.
-- There is always a row: without a run it holds sees_commits alone (see lock_workflow_runs). Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT ARRAY(SELECT jsonb_array_elements_text(doc -> 'run_ids')::uuid) AS run_ids,
           current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AS sees_commits
      FROM input
),
locked AS MATERIALIZED (
    SELECT r.id
      FROM {schema}.workflow_runs AS r
     WHERE (SELECT sees_commits FROM parameter)
       AND r.id = ANY ((SELECT run_ids FROM parameter)::uuid[])
     ORDER BY r.id
       FOR NO KEY UPDATE SKIP LOCKED
)
SELECT l.id AS run_id, (SELECT sees_commits FROM parameter) AS sees_commits
  FROM (SELECT count(*) FROM locked) AS c LEFT JOIN locked AS l ON true
