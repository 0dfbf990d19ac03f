-- The versions of Runledger that the schema itself remembers.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT h.version FROM {schema}.runledger_migration_history AS h, input ORDER BY h.version
