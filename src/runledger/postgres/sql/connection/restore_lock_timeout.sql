-- Put back what set_local_lock_timeout has told.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT set_config('lock_timeout', doc ->> 'lock_timeout', true) AS lock_timeout FROM input
