-- Bound the wait for locks in this transaction, and no longer than it.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT set_config('lock_timeout', doc ->> 'lock_timeout_ms', true) AS lock_timeout FROM input
