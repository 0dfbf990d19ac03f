-- A run, if the scope has it. `scope` as get_job. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT r.id, r.workflow_type, r.organization_id, r.status::text, r.idempotency_key, r.metadata::text AS metadata_json,
       r.result_step_key, r.result::text AS result_json, r.step_count_total, r.step_count_active, r.step_count_waiting,
       r.step_count_unsuccessful, r.started_at, r.finished_at, r.created_at, r.updated_at
  FROM {schema}.workflow_runs AS r
 WHERE r.id = (SELECT (doc ->> 'run_id')::uuid FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN r.organization_id IS NULL
            ELSE r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
