-- Which of these leases were ended by a cancel? Asked about leases that are lost, to say why. The attempt and its
-- CANCELED event tell for good, also after a requeue; a job that was canceled after its lease had ended otherwise is
-- told apart by the outcome of the attempt. Index: primary keys.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id FROM input
),
asked AS MATERIALIZED (
    SELECT a.job_id, a.run_number, a.attempt, a.worker_id, a.finished_at, a.outcome,
           (SELECT jobs FROM parameter) -> a.job_id::text AS item
      FROM {schema}.job_attempts AS a
     WHERE a.job_id = ANY (ARRAY(SELECT jsonb_object_keys(jobs)::uuid FROM parameter))
)
SELECT a.job_id
  FROM asked AS a
 WHERE a.run_number = (item ->> 'run_number')::integer
   AND a.attempt = (item ->> 'attempt')::integer
   AND a.worker_id = (SELECT worker_id FROM parameter)
   AND a.finished_at IS NOT NULL
   AND a.outcome IS NULL
   AND EXISTS (
       SELECT FROM {schema}.job_events AS e
        WHERE e.job_id = a.job_id AND e.run_number = a.run_number AND e.attempt = a.attempt
          AND e.event_type = 'CANCELED')
