-- Queue up behind other starters of the same schema. Transaction-scoped: it ends with the transaction, also when the
-- process dies, and works behind a transaction-pooling proxy.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT pg_advisory_xact_lock(hashtextextended('runledger.migrate {schema}', 0))::text AS locked
  FROM input
