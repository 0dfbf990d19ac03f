-- The id of the newest event that can be seen; 0 when there is none. Index: idx_job_events_id.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT coalesce((SELECT e.id FROM {schema}.job_events AS e ORDER BY e.id DESC LIMIT 1), 0) AS newest_id
  FROM input
