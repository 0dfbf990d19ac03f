-- Which of these job types active schedules need. Run after the statement that disabled them, in its transaction: that
-- holds the locks of the definitions, so who has made a schedule before has committed it and is seen by this statement,
-- and who wants to make one now waits. Without a lock. Index: idx_job_schedules_job_type.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT t.job_type
  FROM input CROSS JOIN LATERAL jsonb_array_elements_text(input.doc -> 'job_types') AS t (job_type)
 WHERE EXISTS (SELECT FROM {schema}.job_schedules AS s WHERE s.job_type = t.job_type AND s.is_active)
 ORDER BY t.job_type
