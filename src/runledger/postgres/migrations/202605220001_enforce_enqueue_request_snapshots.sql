-- From here on a keyed row needs its snapshot. NOT VALID spares the rows that exist: they are counted through
-- the two partial indexes, cleaned up by the operator, and the checks are validated afterwards.

CREATE INDEX idx_job_queue_missing_enqueue_request_snapshot ON {schema}.job_queue (id)
    WHERE idempotency_key IS NOT NULL AND enqueue_request IS NULL;

CREATE INDEX idx_workflow_runs_missing_enqueue_request_snapshot ON {schema}.workflow_runs (id)
    WHERE idempotency_key IS NOT NULL AND enqueue_request IS NULL;

ALTER TABLE {schema}.job_queue ADD CONSTRAINT ck_job_queue_idempotency_enqueue_request
    CHECK (idempotency_key IS NULL OR enqueue_request IS NOT NULL) NOT VALID;

ALTER TABLE {schema}.workflow_runs ADD CONSTRAINT ck_workflow_runs_idempotency_enqueue_request
    CHECK (idempotency_key IS NULL OR enqueue_request IS NOT NULL) NOT VALID;

INSERT INTO {schema}.runledger_migration_history (version) VALUES (202605220001);
