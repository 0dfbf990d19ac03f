-- How did these attempts end, as far as their own worker recorded it? Asked when the answer to such a write was lost.
-- The events tell: an attempt ends once, and SUCCEEDED or FAILED are written in the same commit as its end. An attempt
-- that is open, was canceled or belongs to another worker is not returned.
-- Reads without a lock: who must know about a write that may still be in progress takes the job's lock first.
-- Index: primary keys of attempts and events.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id FROM input
),
asked AS MATERIALIZED (
    SELECT a.job_id, a.run_number, a.attempt, a.worker_id, a.outcome, a.error_code,
           (SELECT jobs FROM parameter) -> a.job_id::text AS item
      FROM {schema}.job_attempts AS a
     WHERE a.job_id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
)
SELECT a.job_id, a.outcome::text, a.error_code, e.is_dead_letter
  FROM asked AS a
 CROSS JOIN LATERAL (
       SELECT bool_or(e.event_type = 'DEAD_LETTERED') AS is_dead_letter
         FROM {schema}.job_events AS e
        WHERE e.job_id = a.job_id
          AND e.run_number = a.run_number
          AND e.attempt = a.attempt
          AND e.event_type IN ('SUCCEEDED', 'FAILED', 'DEAD_LETTERED')) AS e
 WHERE a.worker_id = (SELECT worker_id FROM parameter)
   AND a.run_number = (a.item ->> 'run_number')::integer
   AND a.attempt = (a.item ->> 'attempt')::integer
   AND e.is_dead_letter IS NOT NULL
