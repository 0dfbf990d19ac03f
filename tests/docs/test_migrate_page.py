"""The statements of how-to/migrate.md run in order, in a schema with keyed rows from before the snapshots."""

from __future__ import annotations

import psycopg

from runledger.postgres import (
    LegacyIdempotencySnapshotsMissingError,
    ensure_schema_compatible_after_idempotency_cutover,
    run_sync,
)
from runledger.testing import EphemeralDatabase
from tests.docs.pages import DOCS, blocks_of

_STATEMENTS = [block.text for block in blocks_of(DOCS / "how-to" / "migrate.md") if block.language == "sql"]

_LEGACY_ROWS = """
    CREATE TABLE public.organizations (id uuid PRIMARY KEY);
    INSERT INTO runledger.job_definitions (job_type) VALUES ('a');
    ALTER TABLE runledger.job_queue DROP CONSTRAINT ck_job_queue_idempotency_enqueue_request;
    ALTER TABLE runledger.workflow_runs DROP CONSTRAINT ck_workflow_runs_idempotency_enqueue_request;
    INSERT INTO runledger.job_queue (job_type, max_attempts, idempotency_key, status, finished_at)
    VALUES ('a', 1, 'k', 'SUCCEEDED', now() - interval '31 days');
    INSERT INTO runledger.workflow_runs (workflow_type, idempotency_key) VALUES ('w', 'k');
    ALTER TABLE runledger.job_queue ADD CONSTRAINT ck_job_queue_idempotency_enqueue_request
        CHECK (idempotency_key IS NULL OR enqueue_request IS NOT NULL) NOT VALID;
    ALTER TABLE runledger.workflow_runs ADD CONSTRAINT ck_workflow_runs_idempotency_enqueue_request
        CHECK (idempotency_key IS NULL OR enqueue_request IS NOT NULL) NOT VALID"""


def test_the_statements_find_the_old_rows_repair_them_and_validate_the_checks(
    runledger_database: EphemeralDatabase,
) -> None:
    find_jobs, find_runs, clear_keys, validate, add_foreign_key = _STATEMENTS
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute(_LEGACY_ROWS.encode())
        connection.commit()

        assert _is_refused(connection)
        assert len(connection.execute(find_jobs.encode()).fetchall()) == 1
        assert len(connection.execute(find_runs.encode()).fetchall()) == 1
        assert connection.execute(clear_keys.encode()).rowcount == 1
        connection.execute("UPDATE runledger.workflow_runs SET idempotency_key = NULL")
        assert not _is_refused(connection)
        connection.execute(validate.encode())
        connection.execute(add_foreign_key.encode())
        assert run_sync(connection, ensure_schema_compatible_after_idempotency_cutover()) == []


def _is_refused(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        run_sync(connection, ensure_schema_compatible_after_idempotency_cutover())
    except LegacyIdempotencySnapshotsMissingError:
        return True
    return False
