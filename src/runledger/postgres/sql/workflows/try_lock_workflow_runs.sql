-- Take the locks of those runs that nobody holds, without waiting: for batches, of which one run must not hold up the
-- others, and for whoever holds locks of jobs already, which come later in the lock order.
-- There is always a row: without a run it holds sees_commits alone. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
locked AS MATERIALIZED (
    SELECT r.id
      FROM {schema}.workflow_runs AS r
     WHERE r.id = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'run_ids')::uuid FROM input))
     ORDER BY r.id
       FOR NO KEY UPDATE SKIP LOCKED
)
SELECT l.id AS run_id,
       current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AS sees_commits
  FROM (SELECT count(*) FROM locked) AS c LEFT JOIN locked AS l ON true
