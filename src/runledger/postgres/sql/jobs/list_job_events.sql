-- Page through the events of a job, oldest first, strictly after `after_id`. The scope goes through the job row, so
-- another organization's job has an empty list. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT e.id, e.job_id, e.run_number, e.attempt, e.event_type::text, e.stage, e.progress_done, e.progress_total,
       e.payload::text AS payload_json, e.occurred_at
  FROM {schema}.job_events AS e
 WHERE e.job_id = (
           SELECT q.id
             FROM {schema}.job_queue AS q
            WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
              AND CASE (SELECT doc ->> 'scope' FROM input)
                       WHEN 'any' THEN true
                       WHEN 'global' THEN q.organization_id IS NULL
                       ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END)
   AND e.id > (SELECT (doc ->> 'after_id')::bigint FROM input)
 ORDER BY e.id
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
