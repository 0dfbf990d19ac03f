-- Read one job. `scope` is any, global (jobs of no organization) or organization. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id, q.job_type, q.organization_id, q.payload::text AS payload_json, q.status::text, q.priority,
       q.run_number, q.attempt, q.max_attempts, q.timeout_seconds, q.next_run_at, q.lease_expires_at,
       q.last_heartbeat_at, q.worker_id, q.started_at, q.finished_at, q.stage, q.progress_done, q.progress_total,
       q.progress_pct, q.checkpoint::text AS checkpoint_json, q.output::text AS output_json, q.idempotency_key,
       q.status_reason, q.last_error_code, q.last_error_message, q.workflow_step_id, q.canceled_lease_expires_at,
       q.created_at, q.updated_at
  FROM {schema}.job_queue AS q
 WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
   AND CASE (SELECT doc ->> 'scope' FROM input)
            WHEN 'any' THEN true
            WHEN 'global' THEN q.organization_id IS NULL
            ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END
