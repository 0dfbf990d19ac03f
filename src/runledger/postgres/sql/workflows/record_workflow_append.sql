-- Note an append: the request with its key, and the new steps in the counts of the run, from which its status follows.
-- Guard: the caller holds the lock of the run; the unique key of the mutation. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT (doc ->> 'run_id')::uuid AS run_id, doc ->> 'mutation_key' AS mutation_key, doc -> 'metadata' AS metadata,
           doc -> 'request' AS request, (doc ->> 'total')::integer AS total, (doc ->> 'active')::integer AS active,
           (doc ->> 'waiting')::integer AS waiting, (doc ->> 'unsuccessful')::integer AS unsuccessful,
           coalesce((doc ->> 'now')::timestamptz, now()) AS at
      FROM input
),
inserted_mutation AS (
    INSERT INTO {schema}.workflow_run_mutations (workflow_run_id, mutation_key, metadata, request, created_at, updated_at)
    SELECT run_id, mutation_key, metadata, request, at, at FROM parameter
)
UPDATE {schema}.workflow_runs AS r
   SET step_count_total = r.step_count_total + p.total,
       step_count_active = r.step_count_active + p.active,
       step_count_waiting = r.step_count_waiting + p.waiting,
       step_count_unsuccessful = r.step_count_unsuccessful + p.unsuccessful,
       status = CASE WHEN r.step_count_active + p.active > 0 THEN 'RUNNING'
                     ELSE 'WAITING_FOR_EXTERNAL' END::{schema}.workflow_run_status,
       updated_at = p.at
  FROM parameter AS p
 WHERE r.id = p.run_id
