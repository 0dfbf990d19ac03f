-- Edges of a run, if the scope has the run, by prerequisite and dependent. `scope` as get_job.
-- Index: pk_workflow_step_dependencies; primary key of steps.
WITH input AS (SELECT $1::jsonb AS doc),
run AS MATERIALIZED (
    SELECT r.id FROM {schema}.workflow_runs AS r
     WHERE r.id = (SELECT (doc ->> 'run_id')::uuid FROM input)
       AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN r.organization_id IS NULL
            ELSE r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
)
SELECT d.workflow_run_id, d.prerequisite_step_id, p.step_key AS prerequisite_step_key, d.dependent_step_id,
       s.step_key AS dependent_step_key, d.release_mode::text
  FROM {schema}.workflow_step_dependencies AS d
  JOIN {schema}.workflow_steps AS p ON p.id = d.prerequisite_step_id
  JOIN {schema}.workflow_steps AS s ON s.id = d.dependent_step_id
 WHERE d.workflow_run_id = (SELECT id FROM run)
 ORDER BY d.prerequisite_step_id, d.dependent_step_id
