-- Send notifications to the workers of this schema. They name job types or job ids, see notices.py.
-- The transaction has written nothing else, so its commit need not wait for the disk; the setting is local to it.
-- Guard: none; a notification is a hint.
-- Index: none; no table is read.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT pg_notify({channel}, n.payload) IS NOT NULL AS is_sent,
       set_config('synchronous_commit', 'off', true) AS synchronous_commit
  FROM input CROSS JOIN LATERAL jsonb_array_elements_text(input.doc -> 'payloads') AS n (payload)
