-- Wait for the lock of one job row. The batch statements skip locked rows; whoever must have this one job takes
-- its lock first and then runs the ordinary statement in the same transaction. Index: primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT q.id AS job_id
  FROM {schema}.job_queue AS q
 WHERE q.id = (SELECT (doc ->> 'job_id')::uuid FROM input)
   FOR NO KEY UPDATE
