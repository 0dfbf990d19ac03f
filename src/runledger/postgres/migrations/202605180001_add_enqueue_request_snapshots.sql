-- A keyed request is remembered as it was asked for, so that a retry is compared with the request itself and
-- not with a row that has moved on. Rows from before this migration keep NULL: nobody can reconstruct them.

ALTER TABLE {schema}.job_queue ADD COLUMN enqueue_request jsonb;

ALTER TABLE {schema}.workflow_runs ADD COLUMN enqueue_request jsonb;

INSERT INTO {schema}.runledger_migration_history (version) VALUES (202605180001);
