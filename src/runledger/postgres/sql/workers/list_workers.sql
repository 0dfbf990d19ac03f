-- Workers in the order of their ids, after a given one; or one of them. Without a lock.
-- Index: the primary key.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT w.worker_id, w.instance_id, w.hostname, w.process_id, w.version, w.job_types, w.slots, w.started_at,
       w.heartbeat_at, w.expires_at, w.stopping_at,
       w.expires_at > coalesce((SELECT (doc ->> 'now')::timestamptz FROM input), statement_timestamp()) AS is_live
  FROM {schema}.job_workers AS w
 WHERE w.worker_id > coalesce((SELECT doc ->> 'after_worker_id' FROM input), '')
   AND coalesce(w.worker_id = (SELECT doc ->> 'worker_id' FROM input), true)
 ORDER BY w.worker_id
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
