-- Record a migration in the transaction that applied it.
WITH input AS (SELECT $1::jsonb AS doc)
INSERT INTO {schema}.runledger_migrations (version, description, success, checksum)
SELECT (doc ->> 'version')::bigint, doc ->> 'description', true, decode(doc ->> 'checksum', 'hex') FROM input
