-- What an append has to know of the steps that the run has already: those that it names, and their status. The caller
-- holds the lock of the run, so none of them ends before it commits. Index: uq_workflow_steps_run_step_key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT s.id AS step_id, s.step_key, s.execution_kind::text, s.status::text, s.job_id
  FROM {schema}.workflow_steps AS s
 WHERE s.workflow_run_id = (SELECT (doc ->> 'run_id')::uuid FROM input)
   AND s.step_key = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'step_keys') FROM input))
