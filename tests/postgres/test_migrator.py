"""Migrate: once, in any schema, and never over a database that disagrees."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from runledger.core import EnqueueRequest, InvalidArgumentError, JobDefinition, JobStatus
from runledger.postgres import (
    MIGRATOR,
    IncompatibleSchemaError,
    Migration,
    QueryError,
    SchemaCompatibilityError,
    SchemaProblem,
    ensure_schema_compatible_after_idempotency_cutover,
    jobs,
    migrate_after_idempotency_cutover,
    run_sync,
)
from runledger.testing import EphemeralDatabase
from tests.postgres.drivers.psycopg.targets import Target
from tests.postgres.job_queue import JobQueue

VERSIONS = list(MIGRATOR.versions)
NEWER = VERSIONS[-1] + 1


@pytest.fixture
def empty_url(runledger_database: EphemeralDatabase) -> str:
    """The address of a database that was never migrated."""
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("DROP SCHEMA runledger CASCADE")
    return runledger_database.url


@pytest.fixture(name="sql")
def connection_for_sql(runledger_database: EphemeralDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the migrated database that finds Runledger's tables without their schema."""
    with psycopg.connect(runledger_database.url, options="-c search_path=runledger") as connection:
        yield connection


@pytest.mark.parametrize("target", Target)
async def test_an_empty_database_is_migrated_and_a_second_time_nothing_happens(empty_url: str, target: Target) -> None:
    """MIG-001."""
    assert await target.run(empty_url, migrate_after_idempotency_cutover()) == VERSIONS
    assert await target.run(empty_url, migrate_after_idempotency_cutover()) == []


def test_the_recorded_migrations_are_the_bundled_ones(sql: psycopg.Connection[Any]) -> None:
    """MIG-003."""
    applied = sql.execute("SELECT version, description, success, checksum FROM runledger_migrations ORDER BY 1")
    history = sql.execute("SELECT version FROM runledger_migration_history ORDER BY 1")

    assert applied.fetchall() == [(m.version, m.description, True, m.checksum) for m in MIGRATOR.migrations]
    assert [row[0] for row in history] == VERSIONS


def test_the_metrics_view_exists(sql: psycopg.Connection[Any]) -> None:
    """MIG-004."""
    assert sql.execute("SELECT * FROM job_metrics_rollup").fetchall() == []


def test_ten_concurrent_starters_migrate_once(empty_url: str) -> None:
    """MIG-014."""
    everyone_is_there = threading.Barrier(10)

    def start() -> list[int]:
        with psycopg.connect(empty_url) as connection:
            everyone_is_there.wait(timeout=30)
            return run_sync(connection, migrate_after_idempotency_cutover())

    with ThreadPoolExecutor(10) as threads:
        outcomes = [future.result() for future in [threads.submit(start) for _ in range(10)]]

    assert sorted(outcomes) == [[]] * 9 + [VERSIONS]


def test_a_migration_that_fails_leaves_no_trace(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        # The baseline creates this type in the middle of its statements.
        connection.execute("CREATE SCHEMA runledger")
        connection.execute("CREATE TYPE runledger.workflow_run_status AS ENUM ()")
        connection.commit()
        with pytest.raises(QueryError):
            run_sync(connection, migrate_after_idempotency_cutover())
        connection.rollback()

        assert connection.execute("SELECT to_regtype('runledger.job_status')").fetchone() == (None,)
        assert connection.execute("SELECT to_regclass('runledger.runledger_migrations')").fetchone() == (None,)


def problem_of(sql: psycopg.Connection[Any]) -> tuple[SchemaProblem, int]:
    """Return what both functions say."""
    said: list[tuple[SchemaProblem, int]] = []
    for operation in (migrate_after_idempotency_cutover(), ensure_schema_compatible_after_idempotency_cutover()):
        with pytest.raises(IncompatibleSchemaError) as caught:
            run_sync(sql, operation)
        assert isinstance(caught.value, SchemaCompatibilityError)
        assert caught.value.code == "schema.incompatible"
        assert caught.value.latest_applied_version == VERSIONS[-1]
        said.append((caught.value.problem, caught.value.version))
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migration_that_was_applied_with_another_text_is_named(sql: psycopg.Connection[Any], version: int) -> None:
    """MIG-007."""
    sql.execute("UPDATE runledger_migrations SET checksum = '\\x00' WHERE version = %s", [version])

    assert problem_of(sql) == (SchemaProblem.VERSION_MISMATCH, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migration_that_is_recorded_as_failed_is_named(sql: psycopg.Connection[Any], version: int) -> None:
    """MIG-009."""
    sql.execute("UPDATE runledger_migrations SET success = false WHERE version = %s", [version])

    assert problem_of(sql) == (SchemaProblem.DIRTY, version)


def test_a_database_that_is_newer_than_the_code_is_left_alone(sql: psycopg.Connection[Any]) -> None:
    """MIG-008."""
    sql.execute("INSERT INTO runledger_migration_history (version) VALUES (%s)", [NEWER])

    assert problem_of(sql) == (SchemaProblem.VERSION_MISSING, NEWER)


def test_records_of_other_applications_do_not_matter(sql: psycopg.Connection[Any]) -> None:
    """MIG-005."""
    sql.execute(
        "INSERT INTO runledger_migrations (version, description, success, checksum) VALUES (1, 'ours', false, '')"
    )

    sql.execute("""
        INSERT INTO runledger_migrations (version, description, success, checksum)
        VALUES (202603280002, 'runledger_baseline', true, '')""")

    assert run_sync(sql, migrate_after_idempotency_cutover()) == []
    assert run_sync(sql, ensure_schema_compatible_after_idempotency_cutover()) == []


@pytest.mark.parametrize("schema", ["other-schema", "Other Schema", "schéma", "select", "a.b", "%s", "{schema}"])
def test_any_schema_holds_everything_and_works(empty_url: str, schema: str) -> None:
    with psycopg.connect(empty_url) as connection:
        assert run_sync(connection, migrate_after_idempotency_cutover(), schema=schema) == VERSIONS
        assert run_sync(connection, migrate_after_idempotency_cutover(), schema=schema) == []
    queue = JobQueue(empty_url, schema=schema)
    queue.define()
    claimed = queue.enqueue_and_claim()
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))

    assert queue.job(claimed.job_id).status is JobStatus.SUCCEEDED
    assert queue.sql("SELECT to_regnamespace('runledger')") == [(None,)]
    queue.close()


def test_two_schemas_side_by_side_know_nothing_of_each_other(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        run_sync(connection, migrate_after_idempotency_cutover(), schema="other-schema")
        definition = JobDefinition(job_type="sms.send")
        run_sync(connection, jobs.upsert_job_definitions([definition]), schema="other-schema")
        request = EnqueueRequest("sms.send", None)
        other_id = run_sync(connection, jobs.enqueue_job(request), schema="other-schema")
    job_id = queue.enqueue()

    assert queue.sql("SELECT id FROM job_queue") == [(job_id,)]
    assert queue.sql('SELECT id FROM "other-schema".job_queue') == [(other_id,)]
    assert [job.job_id for job in queue.claim()] == [job_id]


def test_the_linkage_check_of_a_schema_looks_into_its_own_tables(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        run_sync(connection, migrate_after_idempotency_cutover(), schema="other-schema")
        run_sync(connection, jobs.upsert_job_definitions([JobDefinition(job_type="a")]), schema="other-schema")
        run_sync(connection, jobs.enqueue_job(EnqueueRequest("a", None)), schema="other-schema")
        connection.execute("INSERT INTO \"other-schema\".workflow_runs (workflow_type) VALUES ('w')")
        connection.execute("""
            INSERT INTO "other-schema".workflow_steps
                   (workflow_run_id, step_key, job_type, priority, max_attempts, timeout_seconds, stage)
            SELECT id, 's', 'a', 1, 1, 1, 'queued' FROM "other-schema".workflow_runs""")
        connection.execute(
            'UPDATE "other-schema".job_queue SET workflow_step_id = (SELECT id FROM "other-schema".workflow_steps)'
        )

        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            connection.commit()
        assert caught.value.diag.constraint_name == "os_workflow_job_linkage_symmetry"


def test_an_existing_empty_schema_is_used(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE SCHEMA runledger")

        assert run_sync(connection, migrate_after_idempotency_cutover()) == VERSIONS


def test_a_role_without_create_on_the_database_migrates_a_schema_of_its_own(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE ROLE plain_migrator")
        connection.execute("CREATE SCHEMA runledger AUTHORIZATION plain_migrator")
        connection.execute("SET ROLE plain_migrator")

        assert run_sync(connection, migrate_after_idempotency_cutover()) == VERSIONS
        connection.rollback()


@pytest.mark.parametrize(
    "schema",
    ["", 'a"b', "a'b", "a\\b", "a$b", "a\nb", "pg_runledger", "s" * 64, "\N{SNOWMAN}" * 22],
    ids=["empty", "quote", "apostrophe", "backslash", "dollar", "line", "reserved", "long", "long in bytes"],
)
def test_a_schema_that_postgresql_could_not_have_or_we_not_quote_is_refused(empty_url: str, schema: str) -> None:
    with psycopg.connect(empty_url) as connection, pytest.raises(InvalidArgumentError) as caught:
        run_sync(connection, migrate_after_idempotency_cutover(), schema=schema)

    assert caught.value.field == "schema"


def test_versions_rise_and_every_checksum_is_its_own() -> None:
    assert sorted(set(VERSIONS)) == VERSIONS
    assert len({migration.checksum for migration in MIGRATOR.migrations}) == len(VERSIONS)
    assert len(MIGRATOR.checksum) == 64


def migration_of(source: str) -> Migration:
    return Migration(version=1, description="test", source=source, checksum=b"")


def test_a_migration_is_split_at_semicolons_outside_of_dollar_quotes() -> None:
    source = """\
-- A comment; with a semicolon.
CREATE TABLE a (
    -- Inside.
    b text DEFAULT 'x; y'
);

CREATE FUNCTION f() RETURNS trigger AS $body$
BEGIN
    -- kept
    RETURN NULL;
END
$body$;
DO $$ BEGIN PERFORM 1; END $$;
"""

    assert migration_of(source).statements() == [
        "CREATE TABLE a (\n    b text DEFAULT 'x; y'\n)",
        "CREATE FUNCTION f() RETURNS trigger AS $body$\nBEGIN\n    -- kept\n    RETURN NULL;\nEND\n$body$",
        "DO $$ BEGIN PERFORM 1; END $$",
    ]


def test_a_migration_that_ends_in_the_middle_of_a_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="middle of a statement"):
        migration_of("CREATE TABLE a (\n").statements()
