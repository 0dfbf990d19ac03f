-- The run and the step that a job belongs to, read without a lock: neither ever changes. A job outside the scope has none.
-- `scope` as get_job. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT s.workflow_run_id, s.id AS workflow_step_id
  FROM {schema}.job_queue AS q JOIN {schema}.workflow_steps AS s ON s.id = q.workflow_step_id
 WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN q.organization_id IS NULL
            ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
