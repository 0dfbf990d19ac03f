-- Forget workers that died some time ago. One that lives on after all comes back with its next heartbeat.
-- Guard: judged again after the row lock. No index: a fleet is a few rows, and each heartbeat would write it.
WITH input AS (SELECT $1::jsonb AS doc)
DELETE FROM {schema}.job_workers AS w
 WHERE w.expires_at < (
           SELECT coalesce((doc ->> 'now')::timestamptz, statement_timestamp())
                  - (doc ->> 'dead_for_ms')::double precision * interval '1 millisecond'
             FROM input)
RETURNING w.worker_id
