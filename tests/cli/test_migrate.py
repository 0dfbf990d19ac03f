from __future__ import annotations

import psycopg
import pytest

from runledger.postgres import MIGRATOR
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand


def test_applied_versions_are_printed_and_afterwards_that_all_is_up_to_date(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    words = ("migrate", "--database-url", runledger_database.url, "--schema", "Other jobs")

    first = run_command(*words)
    second = run_command(*words)

    applied = [f"applied {migration.version} {migration.description}" for migration in MIGRATOR.migrations]
    assert (first.exit_code, first.out.splitlines(), first.err) == (0, applied, "")
    assert (second.exit_code, second.out, second.err) == (0, "up to date\n", "")


def test_a_schema_that_other_code_migrated_is_left_alone(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("UPDATE runledger.runledger_migrations SET checksum = 'other'")

    ended = run_command("migrate", "--database-url", runledger_database.url)

    assert ended.exit_code == 1
    assert ended.err.startswith("runledger: error: schema runledger at host ")
    assert f": migration {MIGRATOR.versions[0]}: was applied with another text; run the version" in ended.err


def test_the_printed_statements_make_what_migrate_makes(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    """A host applies the preparation and then each migration, as its own tool would."""
    url, schema = runledger_database.url, "Of the host"
    whole = run_command("migrate", "--sql", "--schema", schema)
    parts = [run_command("migrate", "--sql", str(version), "--schema", schema) for version in MIGRATOR.versions]
    with psycopg.connect(url) as connection:
        for statement in MIGRATOR.preparation(schema):
            connection.execute(statement.encode())
        for part in parts:
            connection.execute(part.out.encode())
            connection.commit()

    checked = run_command("check", "--database-url", url, "--schema", schema)
    migrated = run_command("migrate", "--database-url", url, "--schema", schema)

    assert [part.exit_code for part in (whole, *parts)] == [0] * (1 + len(parts))
    assert all(part.out.strip() in whole.out for part in parts)
    assert checked.exit_code == 0
    assert "wait to be validated" in checked.out
    assert (migrated.exit_code, migrated.out) == (0, "up to date\n")
    assert "wait to be validated" not in run_command("check", "--database-url", url, "--schema", schema).out


def test_all_printed_statements_can_be_run_as_one_file(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    script = run_command("migrate", "--sql", "--schema", "other").out
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute(script.encode())

    assert run_command("check", "--database-url", runledger_database.url, "--schema", "other").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sql", "202601010000"], "--sql: there is no such migration; leave the version out, or give one of 2026"),
        (["--sql", "--schema", "a'b"], "--schema: is empty or holds a quote"),
    ],
    ids=["version", "schema"],
)
def test_statements_that_cannot_be_printed_are_refused(run_command: RunCommand, words: list[str], message: str) -> None:
    ended = run_command("migrate", *words)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith(f"runledger: error: {message}")


def test_legacy_rows_are_told_and_the_migrations_stay(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("""
            ALTER TABLE runledger.workflow_runs DROP CONSTRAINT ck_workflow_runs_idempotency_enqueue_request;
            INSERT INTO runledger.workflow_runs (workflow_type, idempotency_key) VALUES ('w', 'secret-key');
            ALTER TABLE runledger.workflow_runs ADD CONSTRAINT ck_workflow_runs_idempotency_enqueue_request
                CHECK (idempotency_key IS NULL OR enqueue_request IS NOT NULL) NOT VALID""")

    ended = run_command("migrate", "--database-url", runledger_database.url)

    assert ended.exit_code == 1
    assert "without enqueue_request: 0, workflow runs: 1; delete finished ones" in ended.err
    assert "secret-key" not in ended.err
