-- Steps of a run whose jobs wait in the queue, if the scope has the run, and what they wait for, in the order in which they
-- were made. `scope` as get_job.
-- The job of an enqueued step is PENDING. The statement does not say so: it would be planned with the index of all such jobs.
-- A type is served if a worker has it that is live and does not stop. Jobs of others wait though they are due.
-- Cost: a look at each step of the run and at the job of each that is enqueued, and at the workers once.
-- Index: uq_workflow_steps_run_step_id; primary keys; idx_job_definitions_paused. The table of workers is a page or two.
WITH input AS (SELECT $1::jsonb AS doc),
run AS MATERIALIZED (
    SELECT r.id FROM {schema}.workflow_runs AS r
     WHERE r.id = (SELECT (doc ->> 'run_id')::uuid FROM input)
       AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN r.organization_id IS NULL
            ELSE r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
),
enqueued AS MATERIALIZED (
    SELECT s.job_id
      FROM {schema}.workflow_steps AS s
     WHERE s.workflow_run_id = (SELECT id FROM run) AND s.status = 'ENQUEUED'
),
served AS MATERIALIZED (
    SELECT DISTINCT unnest(w.job_types) AS job_type
      FROM {schema}.job_workers AS w
     WHERE w.stopping_at IS NULL
       AND w.expires_at > coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp())
),
paused AS MATERIALIZED (
    SELECT d.job_type FROM {schema}.job_definitions AS d WHERE d.paused_at IS NOT NULL
)
SELECT q.workflow_step_id AS step_id, q.id AS job_id, q.job_type, q.attempt, q.max_attempts, q.next_run_at,
       q.last_error_code,
       q.job_type IN (SELECT job_type FROM paused) AS is_type_paused,
       q.job_type IN (SELECT job_type FROM served) AS is_type_served
  FROM {schema}.job_queue AS q
 WHERE q.id = ANY (ARRAY(SELECT job_id FROM enqueued))
 ORDER BY q.workflow_step_id
