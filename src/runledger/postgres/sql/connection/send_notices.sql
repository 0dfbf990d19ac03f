-- Send notifications: to the workers of this schema, which name job types or job ids (see notices.py), and to who waits
-- for a run, which name the run.
-- The transaction has written nothing else, so its commit need not wait for the disk; the setting is local to it.
-- Guard: none; a notification is a hint.
-- Index: none; no table is read.
WITH input AS (SELECT $1::jsonb AS doc),
notice AS (
    SELECT {channel} AS channel, jsonb_array_elements_text(doc -> 'payloads') AS payload FROM input
    UNION ALL
    SELECT {run_channel}, jsonb_array_elements_text(doc -> 'ended_run_ids') FROM input
)
SELECT pg_notify(channel, payload) IS NOT NULL AS is_sent,
       set_config('synchronous_commit', 'off', true) AS synchronous_commit
  FROM notice
