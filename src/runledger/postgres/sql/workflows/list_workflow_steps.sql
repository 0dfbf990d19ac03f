-- Steps of a run, if the scope has the run, in the order in which they were made. `scope` as get_job.
-- Index: uq_workflow_steps_run_step_id; with step_keys uq_workflow_steps_run_step_key.
WITH input AS (SELECT $1::jsonb AS doc),
run AS MATERIALIZED (
    SELECT r.id FROM {schema}.workflow_runs AS r
     WHERE r.id = (SELECT (doc ->> 'run_id')::uuid FROM input)
       AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN r.organization_id IS NULL
            ELSE r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
)
SELECT s.id, s.workflow_run_id, s.step_key, s.execution_kind::text, s.job_type, s.organization_id,
       s.payload::text AS payload_json, s.priority, s.max_attempts, s.timeout_seconds, s.stage, s.status::text, s.job_id,
       s.output::text AS output_json, s.released_at, s.started_at, s.finished_at, s.dependency_count_total,
       s.dependency_count_pending, s.dependency_count_unsatisfied, s.status_reason, s.last_error_code,
       s.last_error_message, s.created_at, s.updated_at
  FROM {schema}.workflow_steps AS s
 WHERE s.workflow_run_id = (SELECT id FROM run)
   AND s.id > coalesce((SELECT (doc ->> 'after_step_id')::uuid FROM input), '00000000-0000-0000-0000-000000000000')
   AND ((SELECT doc ->> 'status' FROM input) IS NULL
        OR s.status = (SELECT (doc ->> 'status')::{schema}.workflow_step_status FROM input))
   AND ((SELECT doc -> 'step_keys' FROM input) IS NULL
        OR s.step_key = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'step_keys') FROM input)))
 ORDER BY s.id
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
