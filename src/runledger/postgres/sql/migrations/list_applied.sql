-- The migrations that were applied, as the table of applied migrations has them.
WITH input AS (SELECT $1::jsonb AS doc)
SELECT m.version, m.success, m.checksum FROM {schema}.runledger_migrations AS m, input
