-- The attempts of a job in order, all runs. Scope as list_job_events. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT a.job_id, a.run_number, a.attempt, a.worker_id, a.claim_origin, a.leased_at, a.started_at,
       a.execution_started_persisted_at, a.finished_at, a.outcome::text, a.error_code, a.error_message, a.retry_delay_ms
  FROM {schema}.job_attempts AS a
 WHERE a.job_id = (
           SELECT q.id
             FROM {schema}.job_queue AS q
            WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
              AND CASE (SELECT doc ->> 'scope' FROM input)
                       WHEN 'any' THEN true
                       WHEN 'global' THEN q.organization_id IS NULL
                       ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END)
 ORDER BY a.run_number, a.attempt
