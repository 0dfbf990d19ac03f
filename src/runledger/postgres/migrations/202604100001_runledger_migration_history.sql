-- The versions of Runledger that this schema has seen, apart from whatever tool applied them.
-- A version here that the code does not know means: the database is newer than the code.

CREATE TABLE {schema}.runledger_migration_history (
    version      bigint PRIMARY KEY,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);

INSERT INTO {schema}.runledger_migration_history (version) VALUES (202603280001), (202604100001);
