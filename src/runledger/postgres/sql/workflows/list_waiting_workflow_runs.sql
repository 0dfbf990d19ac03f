-- Runs of a scope in which a gate waits, newest first. A statement of its own, since one for both lists would be planned for
-- neither. Index: idx_workflow_runs_waiting, from its end: it has no other runs; the filters apply on the way.
-- type_contains is compared literally (strpos knows no pattern characters). `scope` as get_job.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT r.id, r.workflow_type, r.organization_id, r.status::text, r.idempotency_key, r.metadata::text AS metadata_json,
       r.result_step_key, r.result::text AS result_json, r.step_count_total, r.step_count_active, r.step_count_waiting,
       r.step_count_unsuccessful, r.started_at, r.finished_at, r.created_at, r.updated_at
  FROM {schema}.workflow_runs AS r
 WHERE r.step_count_waiting > 0
   AND r.id < coalesce((SELECT (doc ->> 'before_run_id')::uuid FROM input), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
   AND ((SELECT doc ->> 'status' FROM input) IS NULL
        OR r.status = (SELECT (doc ->> 'status')::{schema}.workflow_run_status FROM input))
   AND ((SELECT doc ->> 'type_contains' FROM input) IS NULL
        OR strpos(lower(r.workflow_type), lower((SELECT doc ->> 'type_contains' FROM input))) > 0)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN r.organization_id IS NULL
            ELSE r.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
 ORDER BY r.id DESC
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
