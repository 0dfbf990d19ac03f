-- Forget a worker that has stopped.
-- Guard: the row is still that of its process. Index: the primary key.
WITH input AS (SELECT $1::jsonb AS doc)
DELETE FROM {schema}.job_workers AS w
 WHERE w.worker_id = (SELECT doc ->> 'worker_id' FROM input)
   AND w.instance_id = (SELECT (doc ->> 'instance_id')::uuid FROM input)
RETURNING w.worker_id
