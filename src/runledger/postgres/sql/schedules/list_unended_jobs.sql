-- Which of these jobs, each the last one of a schedule, have not ended.
-- A statement of its own, after the schedules were locked (claim_due_schedules): that one sees the newest row of a schedule,
-- but in its own snapshot, which may be older, the job is not there yet that another scheduler has just made.
-- Index: primary key of job_queue, once for each; a join could read the whole queue.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT i.job_id::uuid
  FROM input CROSS JOIN LATERAL jsonb_array_elements_text(input.doc -> 'job_ids') AS i (job_id)
 WHERE (SELECT q.status IN ('PENDING', 'LEASED') FROM {schema}.job_queue AS q WHERE q.id = i.job_id::uuid)
