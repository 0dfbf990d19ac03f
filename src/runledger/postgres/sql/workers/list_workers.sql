-- Workers in the order of their ids, after a given one; or one of them; or those that claim the jobs of a type: live, and
-- not about to stop. Without a lock. Index: the primary key; a fleet is a few rows.
WITH input AS (SELECT $1::jsonb AS doc),
parameter AS MATERIALIZED (
    SELECT coalesce((doc ->> 'now')::timestamptz, statement_timestamp()) AS at, doc ->> 'claims_job_type' AS job_type
      FROM input
)
SELECT w.worker_id, w.instance_id, w.hostname, w.process_id, w.version, w.job_types, w.slots, w.started_at,
       w.heartbeat_at, w.expires_at, w.stopping_at,
       w.expires_at > (SELECT at FROM parameter) AS is_live
  FROM {schema}.job_workers AS w
 WHERE w.worker_id > coalesce((SELECT doc ->> 'after_worker_id' FROM input), '')
   AND coalesce(w.worker_id = (SELECT doc ->> 'worker_id' FROM input), true)
   AND ((SELECT job_type FROM parameter) IS NULL
        OR ((SELECT job_type FROM parameter) = ANY (w.job_types)
            AND w.expires_at > (SELECT at FROM parameter) AND w.stopping_at IS NULL))
 ORDER BY w.worker_id
 LIMIT (SELECT (doc ->> 'limit')::bigint FROM input)
