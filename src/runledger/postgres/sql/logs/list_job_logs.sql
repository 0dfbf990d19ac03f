-- Page through the log of a job, oldest first, strictly after `after_id`. The scope goes through the job row, so another
-- organization's job has an empty list. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT l.id, l.job_id, l.run_number, l.attempt, l.level, l.message, l.payload::text AS payload_json, l.occurred_at
  FROM {schema}.job_logs AS l
 WHERE l.job_id = (
           SELECT q.id
             FROM {schema}.job_queue AS q
            WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
              AND CASE (SELECT doc ->> 'scope' FROM input)
                       WHEN 'any' THEN true
                       WHEN 'global' THEN q.organization_id IS NULL
                       ELSE q.organization_id = (SELECT (doc ->> 'organization_id')::uuid FROM input) END)
   AND l.id > (SELECT (doc ->> 'after_id')::bigint FROM input)
 ORDER BY l.id
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
