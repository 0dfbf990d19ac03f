"""The check that changes nothing, and what becomes of keyed rows from before the snapshots."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from runledger.postgres import (
    MIGRATOR,
    IncompatibleSchemaError,
    LegacyIdempotencySnapshotsMissingError,
    MissingMigrationHistoryError,
    SchemaCompatibilityError,
    SchemaProblem,
    ensure_schema_compatible_after_idempotency_cutover,
    migrate_after_idempotency_cutover,
    run,
    run_sync,
)
from runledger.postgres.compatibility import ensure_schema_serves
from runledger.testing import EphemeralDatabase
from tests.postgres.drivers.psycopg.targets import Target

SERVES = ensure_schema_serves()
CHECKS = [check.constraint_name for check in MIGRATOR.checks]
MIGRATE, ENSURE = migrate_after_idempotency_cutover(), ensure_schema_compatible_after_idempotency_cutover()


@pytest.fixture(name="sql")
def autocommit_connection(runledger_database: EphemeralDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the migrated database that finds Runledger's tables without their schema."""
    with psycopg.connect(runledger_database.url, autocommit=True, options="-c search_path=runledger") as connection:
        connection.execute("INSERT INTO job_definitions (job_type) VALUES ('a')")
        yield connection


def add_legacy_rows(sql: psycopg.Connection[Any], *, job_count: int, workflow_count: int) -> None:
    """Take the schema back to before the cutover, add keyed rows as they were then, and apply the cutover again."""
    sql.execute("ALTER TABLE job_queue DROP CONSTRAINT ck_job_queue_idempotency_enqueue_request")
    sql.execute("ALTER TABLE workflow_runs DROP CONSTRAINT ck_workflow_runs_idempotency_enqueue_request")
    sql.execute("DROP INDEX idx_job_queue_missing_enqueue_request_snapshot")
    sql.execute("DROP INDEX idx_workflow_runs_missing_enqueue_request_snapshot")
    for table in ("runledger_migrations", "runledger_migration_history"):
        sql.execute(f"DELETE FROM {table} WHERE version = {MIGRATOR.versions[-1]}".encode())
    sql.execute(
        "INSERT INTO job_queue (job_type, max_attempts, idempotency_key)"
        " SELECT 'a', 1, 'key ' || n FROM generate_series(1, %s) AS n",
        [job_count],
    )
    sql.execute(
        "INSERT INTO workflow_runs (workflow_type, idempotency_key)"
        " SELECT 'w', 'key ' || n FROM generate_series(1, %s) AS n",
        [workflow_count],
    )


def validated(sql: psycopg.Connection[Any]) -> list[tuple[str, bool]]:
    return sql.execute(
        "SELECT conname::text, convalidated FROM pg_constraint WHERE conname LIKE 'ck%enqueue_request' ORDER BY conname"
    ).fetchall()


@pytest.mark.parametrize("target", Target)
async def test_a_migrated_schema_is_compatible(runledger_database: EphemeralDatabase, target: Target) -> None:
    """MIG-001."""
    assert await target.run(runledger_database.url, ENSURE) == []


def test_after_migration_the_checks_are_validated(sql: psycopg.Connection[Any]) -> None:
    """MIG-002."""
    assert validated(sql) == [(name, True) for name in CHECKS]


@pytest.mark.parametrize("target", Target)
async def test_a_fresh_database_has_no_history_and_is_left_as_it_is(
    runledger_database: EphemeralDatabase, target: Target
) -> None:
    """MIG-006."""
    with psycopg.connect(runledger_database.url, autocommit=True) as sql:
        sql.execute("DROP SCHEMA runledger CASCADE")

        with pytest.raises(MissingMigrationHistoryError) as caught:
            await target.run(runledger_database.url, ENSURE)

        assert sql.execute("SELECT to_regnamespace('runledger')").fetchone() == (None,)
    assert caught.value.problem is SchemaProblem.MISSING_MIGRATION_HISTORY
    assert caught.value.code == "schema.missing_migration_history"
    assert caught.value.required_first_migration_version == 202603280001


@pytest.mark.parametrize(("index", "version"), list(enumerate(MIGRATOR.versions)))
def test_a_version_that_was_not_applied_is_named(sql: psycopg.Connection[Any], index: int, version: int) -> None:
    """MIG-010."""
    sql.execute("DELETE FROM runledger_migrations WHERE version >= %s", [version])

    with pytest.raises(IncompatibleSchemaError, match="not applied") as caught, sql.transaction():
        run_sync(sql, ENSURE)

    assert (caught.value.problem, caught.value.version) == (SchemaProblem.VERSION_TOO_NEW, version)
    assert caught.value.latest_applied_version == (MIGRATOR.versions[index - 1] if index else None)


def test_the_check_runs_in_a_transaction_that_may_only_read(runledger_database: EphemeralDatabase) -> None:
    options = "-c default_transaction_read_only=on -c default_transaction_isolation=serializable"
    with psycopg.connect(runledger_database.url, options=options) as connection:
        assert run_sync(connection, ENSURE) == []


@pytest.mark.parametrize(("job_count", "workflow_count"), [(2, 1), (0, 1), (3, 0)])
async def test_legacy_keyed_rows_are_counted_by_both_and_the_migrations_stay_applied(
    runledger_database: EphemeralDatabase, sql: psycopg.Connection[Any], job_count: int, workflow_count: int
) -> None:
    """MIG-011."""
    add_legacy_rows(sql, job_count=job_count, workflow_count=workflow_count)
    async with AsyncConnectionPool(runledger_database.url, min_size=1, open=False) as pool:
        for operation in (MIGRATE, ENSURE, MIGRATE):
            with pytest.raises(LegacyIdempotencySnapshotsMissingError) as caught:
                await run(pool, operation)
            assert caught.value.problem is SchemaProblem.LEGACY_IDEMPOTENCY_SNAPSHOTS_MISSING
            assert (caught.value.job_count, caught.value.workflow_count) == (job_count, workflow_count)

    applied = sql.execute("SELECT max(version) FROM runledger_migrations").fetchone()
    assert applied == (MIGRATOR.versions[-1],)
    assert validated(sql) == [(name, False) for name in CHECKS]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO job_queue (job_type, max_attempts, idempotency_key) VALUES ('a', 1, 'k')",
        "INSERT INTO workflow_runs (workflow_type, idempotency_key) VALUES ('w', 'k')",
        "UPDATE job_queue SET priority = 1",
    ],
)
def test_before_validation_new_and_changed_rows_are_checked_already(
    runledger_database: EphemeralDatabase, sql: psycopg.Connection[Any], statement: str
) -> None:
    """MIG-012, ENQ-033."""
    add_legacy_rows(sql, job_count=1, workflow_count=1)
    with psycopg.connect(runledger_database.url) as connection:
        with pytest.raises(LegacyIdempotencySnapshotsMissingError):
            run_sync(connection, MIGRATE)
        connection.commit()

    with pytest.raises(psycopg.errors.CheckViolation, match="idempotency_enqueue_request"):
        sql.execute(statement.encode())


async def test_after_the_legacy_rows_are_gone_the_same_call_validates(
    runledger_database: EphemeralDatabase, sql: psycopg.Connection[Any]
) -> None:
    """MIG-015. One row is drained, one loses its key, one gets its request: the ways that the how-to names."""
    add_legacy_rows(sql, job_count=2, workflow_count=1)
    async with AsyncConnectionPool(runledger_database.url, min_size=1, open=False) as pool:
        with pytest.raises(LegacyIdempotencySnapshotsMissingError):
            await run(pool, MIGRATE)
        sql.execute("DELETE FROM job_queue WHERE idempotency_key = 'key 1'")
        sql.execute("UPDATE job_queue SET idempotency_key = NULL WHERE idempotency_key = 'key 2'")
        sql.execute("UPDATE workflow_runs SET enqueue_request = '{}'")
        waiting = await run(pool, ENSURE)

        assert await run(pool, MIGRATE) == []
        assert await run(pool, ENSURE) == []

    assert [check.constraint_name for check in waiting] == CHECKS
    assert validated(sql) == [(name, True) for name in CHECKS]


def test_a_validation_holds_up_neither_writers_nor_readers(
    runledger_database: EphemeralDatabase, sql: psycopg.Connection[Any]
) -> None:
    add_legacy_rows(sql, job_count=0, workflow_count=0)
    for statement in (
        "ALTER TABLE job_queue ADD CONSTRAINT ck_job_queue_idempotency_enqueue_request CHECK (true) NOT VALID",
        "ALTER TABLE workflow_runs ADD CONSTRAINT ck_workflow_runs_idempotency_enqueue_request CHECK (true) NOT VALID",
    ):
        sql.execute(statement.encode())
    with psycopg.connect(runledger_database.url) as connection:
        for check in MIGRATOR.checks:
            connection.execute(check.text("runledger").encode())

        sql.execute("SET lock_timeout = '5s'")
        sql.execute("INSERT INTO job_queue (job_type, max_attempts) VALUES ('a', 1)")
        sql.execute("UPDATE job_queue SET priority = 1")
        for table in ("job_queue", "workflow_runs"):
            sql.execute(f"SELECT FROM {table} FOR UPDATE".encode())


@pytest.mark.parametrize("target", Target)
async def test_tables_of_this_version_serve(runledger_database: EphemeralDatabase, target: Target) -> None:
    await target.run(runledger_database.url, SERVES)


@pytest.mark.parametrize("target", Target)
async def test_a_schema_without_tables_does_not_serve_and_is_named(
    runledger_database: EphemeralDatabase, target: Target
) -> None:
    with pytest.raises(MissingMigrationHistoryError) as caught:
        await target.run(runledger_database.url, SERVES, schema="elsewhere")

    assert str(caught.value).startswith('schema "elsewhere" at host ')
    assert str(caught.value).endswith(caught.value.difference)


@pytest.mark.parametrize("version", MIGRATOR.versions)
def test_tables_that_are_older_than_the_code_do_not_serve(sql: psycopg.Connection[Any], version: int) -> None:
    sql.execute("DELETE FROM runledger_migrations WHERE version >= %s", [version])

    with pytest.raises(IncompatibleSchemaError, match="older than the code") as caught, sql.transaction():
        run_sync(sql, SERVES)

    assert (caught.value.problem, caught.value.version) == (SchemaProblem.VERSION_TOO_NEW, version)


def test_a_migration_that_is_recorded_as_failed_does_not_serve(sql: psycopg.Connection[Any]) -> None:
    sql.execute("UPDATE runledger_migrations SET success = false WHERE version = %s", [MIGRATOR.versions[-1]])

    with pytest.raises(IncompatibleSchemaError) as caught, sql.transaction():
        run_sync(sql, SERVES)

    assert caught.value.problem is SchemaProblem.DIRTY


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO runledger_migrations VALUES (999912310001, 'newer', now(), true, '')",
        "INSERT INTO runledger_migration_history (version) VALUES (999912310001)",
        "DROP TABLE runledger_migrations",
    ],
    ids=["of newer code", "recorded by newer code", "without a history"],
)
def test_tables_that_the_check_would_refuse_but_old_code_can_use_serve(
    sql: psycopg.Connection[Any], change: str
) -> None:
    """A process of the old code may start while a release is rolled out, and hosts have tools of their own."""
    sql.execute(change.encode())

    with sql.transaction():
        run_sync(sql, SERVES)


def test_the_counts_are_served_by_the_partial_indexes(sql: psycopg.Connection[Any]) -> None:
    sql.execute("INSERT INTO job_queue (job_type, max_attempts) SELECT 'a', 1 FROM generate_series(1, 5000)")
    sql.execute("ANALYZE job_queue")
    plan = sql.execute(
        "EXPLAIN SELECT count(*) FROM job_queue WHERE idempotency_key IS NOT NULL AND enqueue_request IS NULL"
    ).fetchall()

    assert "idx_job_queue_missing_enqueue_request_snapshot" in str(plan)


@pytest.mark.parametrize(
    "error",
    [
        MissingMigrationHistoryError(),
        IncompatibleSchemaError(SchemaProblem.DIRTY, 7, "is broken", latest_applied_version=None),
        LegacyIdempotencySnapshotsMissingError(job_count=1, workflow_count=2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_between_processes(error: SchemaCompatibilityError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
