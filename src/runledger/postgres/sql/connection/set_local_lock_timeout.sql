-- Bound the wait for locks in this transaction, and no longer than it. A shorter bound that it has stays. Tells the
-- former setting, to be put back.
WITH input AS (SELECT $1::jsonb AS doc),
bound AS (
    SELECT former,
           (doc ->> 'lock_timeout_ms')::integer AS bound_ms,
           (1000 * extract(epoch FROM former::interval))::integer AS former_ms
      FROM input CROSS JOIN current_setting('lock_timeout') AS former
)
SELECT former,
       set_config('lock_timeout',
                  CASE WHEN former_ms > 0 AND former_ms <= bound_ms THEN former ELSE bound_ms::text END,
                  true) AS lock_timeout
  FROM bound
