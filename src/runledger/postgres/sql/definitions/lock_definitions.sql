-- Keep definitions from being disabled until the transaction ends, and tell which are enabled once they are locked.
-- No row back for a type: it has no definition. Lock order: by type, FOR SHARE, so that several schedules may be written
-- at once, and before the rows of schedules. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT d.job_type, d.is_enabled
  FROM {schema}.job_definitions AS d
 WHERE d.job_type = ANY (ARRAY(SELECT jsonb_array_elements_text(doc -> 'job_types') FROM input))
 ORDER BY d.job_type
   FOR SHARE
