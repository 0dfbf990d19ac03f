-- The steps that a step waited for, as they ended. Index: idx_workflow_step_dependencies_dependent; primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT s.step_key, s.status::text, s.output::text AS output_json, s.status_reason, s.last_error_code,
       s.last_error_message
  FROM {schema}.workflow_step_dependencies AS d JOIN {schema}.workflow_steps AS s ON s.id = d.prerequisite_step_id
 WHERE d.workflow_run_id = (SELECT (doc ->> 'run_id')::uuid FROM input)
   AND d.dependent_step_id = (SELECT (doc ->> 'step_id')::uuid FROM input)
 ORDER BY s.id
