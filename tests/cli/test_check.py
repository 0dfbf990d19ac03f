from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from runledger.postgres import MIGRATOR
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand

LATEST = MIGRATOR.versions[-1]
FIRST = MIGRATOR.versions[0]

UNVALIDATE = """
    ALTER TABLE runledger.job_queue DROP CONSTRAINT ck_job_queue_idempotency_enqueue_request;
    ALTER TABLE runledger.job_queue ADD CONSTRAINT ck_job_queue_idempotency_enqueue_request
        CHECK (idempotency_key IS NULL OR enqueue_request IS NOT NULL) NOT VALID"""
ADD_LEGACY_ROWS = f"""
    INSERT INTO runledger.job_definitions (job_type) VALUES ('a');
    ALTER TABLE runledger.job_queue DROP CONSTRAINT ck_job_queue_idempotency_enqueue_request;
    INSERT INTO runledger.job_queue (job_type, max_attempts, idempotency_key) VALUES ('a', 1, 'secret-key');
    {UNVALIDATE.replace("DROP CONSTRAINT", "DROP CONSTRAINT IF EXISTS")}"""


def execute(database: EphemeralDatabase, statements: str) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute(statements.encode())


def test_tables_of_this_version_are_fine(run_command: RunCommand, runledger_database: EphemeralDatabase) -> None:
    ended = run_command("check", "--database-url", runledger_database.url)

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith("schema runledger at host ")
    assert ended.out.endswith(f": fits this version, up to migration {LATEST}\n")


@pytest.mark.parametrize(
    ("statements", "told", "facts"),
    [
        (
            "DROP SCHEMA runledger CASCADE",
            ("there is no history of migrations", "run `runledger migrate`, or correct the name"),
            {"problem": "MissingMigrationHistory", "required_first_migration_version": FIRST},
        ),
        (
            f"DELETE FROM runledger.runledger_migrations WHERE version = {LATEST}",
            (f"migration {LATEST}: is not applied", "run `runledger migrate`"),
            {"problem": "VersionTooNew", "version": LATEST, "latest_applied_version": MIGRATOR.versions[-2]},
        ),
        (
            f"INSERT INTO runledger.runledger_migration_history (version) VALUES ({LATEST + 1})",
            (f"migration {LATEST + 1}: is unknown to this code", "upgrade runledger-pg"),
            {"problem": "VersionMissing", "version": LATEST + 1, "latest_applied_version": LATEST},
        ),
        (
            "UPDATE runledger.runledger_migrations SET checksum = 'other'",
            (f"migration {FIRST}: was applied with another text", "run the version of runledger-pg that applied it"),
            {"problem": "VersionMismatch", "version": FIRST, "latest_applied_version": LATEST},
        ),
        (
            "UPDATE runledger.runledger_migrations SET success = false",
            (f"migration {FIRST}: is recorded as failed", "repair the schema"),
            {"problem": "Dirty", "version": FIRST, "latest_applied_version": LATEST},
        ),
        (
            ADD_LEGACY_ROWS,
            ("jobs with an idempotency key and without enqueue_request: 1, workflow runs: 0", "repair these rows"),
            {"problem": "LegacyIdempotencySnapshotsMissing", "job_count": 1, "workflow_count": 0},
        ),
    ],
    ids=["missing", "older", "newer", "other text", "failed", "legacy rows"],
)
def test_what_differs_and_what_to_do_is_told(
    run_command: RunCommand,
    runledger_database: EphemeralDatabase,
    statements: str,
    told: tuple[str, str],
    facts: dict[str, Any],
) -> None:
    execute(runledger_database, statements)
    message, remedy = told

    for_people = run_command("check", "--database-url", runledger_database.url)
    for_programs = run_command("check", "--json", "--database-url", runledger_database.url)

    assert (for_people.exit_code, for_people.err) == (1, "")
    assert message in for_people.out
    assert f"\nwhat to do: {remedy}" in for_people.out
    assert "secret-key" not in for_people.out + for_programs.out
    document = json.loads(for_programs.out)
    assert (for_programs.exit_code, document["is_compatible"], document["schema"]) == (1, False, "runledger")
    assert message in document["message"]
    assert document["remedy"].startswith(remedy)
    assert document["statements"] == []
    names = ("problem", "required_first_migration_version", "version", "latest_applied_version", "job_count")
    assert {name: document[name] for name in (*names, "workflow_count") if document[name] is not None} == facts


def test_checks_that_wait_for_validation_are_fine_and_their_statements_work(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    execute(runledger_database, UNVALIDATE)

    ended = run_command("check", "--database-url", runledger_database.url)
    document = json.loads(run_command("check", "--json", "--database-url", runledger_database.url).out)
    for statement in document["statements"]:
        execute(runledger_database, statement)
    afterwards = run_command("check", "--database-url", runledger_database.url)

    statement = 'ALTER TABLE "runledger".job_queue VALIDATE CONSTRAINT ck_job_queue_idempotency_enqueue_request;'
    assert ended.exit_code == 0
    assert ended.out.splitlines()[1:] == [
        "what to do: run `runledger migrate`, or as the owner of the tables these statements",
        f"  {statement}",
    ]
    assert (document["is_compatible"], document["problem"], document["statements"]) == (True, None, [statement])
    assert "what to do" not in afterwards.out


def test_nothing_is_changed(run_command: RunCommand, runledger_database: EphemeralDatabase) -> None:
    execute(runledger_database, "DROP SCHEMA runledger CASCADE")

    run_command("check", "--database-url", runledger_database.url)

    with psycopg.connect(runledger_database.url) as connection:
        assert connection.execute("SELECT to_regnamespace('runledger')").fetchone() == (None,)


def test_bad_input_is_told_apart(run_command: RunCommand) -> None:
    assert run_command("check").exit_code == 2
    assert run_command("check", "--database-url", "postgresql:///shop", "--schema", "pg_x").exit_code == 2
