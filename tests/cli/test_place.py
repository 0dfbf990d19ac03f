"""Which database and schema a command uses, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand

JOB_ID = "0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e"


def execute(database: EphemeralDatabase, statement: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_without_a_database_the_options_and_variables_are_named(run_command: RunCommand) -> None:
    ended = run_command("migrate")

    assert ended.exit_code == 2
    assert ended.err == (
        "runledger: error: no database is given; use --database-url, set RUNLEDGER_DATABASE_URL or DATABASE_URL, "
        "or try the embedded server with --embedded\n"
    )


def test_two_databases_are_refused(run_command: RunCommand) -> None:
    ended = run_command("migrate", "--embedded=demo", "--database-url", "postgresql:///shop")

    assert ended.exit_code == 2
    assert ended.err == "runledger: error: --embedded and --database-url name two databases; give one of them\n"


def test_the_option_comes_before_our_variable_and_that_before_the_common_one(
    run_command: RunCommand, runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", runledger_database.url)
    assert run_command("migrate").out == "up to date\n"

    monkeypatch.setenv("DATABASE_URL", "nonsense")
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    assert run_command("migrate").out == "up to date\n"

    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", "nonsense")
    assert run_command("migrate", "--database-url", runledger_database.url).out == "up to date\n"


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_url_is_refused_and_never_the_default_database_of_libpq(run_command: RunCommand, blank: str) -> None:
    ended = run_command("migrate", "--database-url", blank)

    assert ended.exit_code == 2
    assert ended.err == (
        "runledger: error: --database-url: is blank; write it as postgresql://user@host:5432/database, or leave the "
        "option out and set RUNLEDGER_DATABASE_URL or DATABASE_URL\n"
    )


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_variable_for_the_url_counts_as_missing(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", blank)

    assert "no database is given" in run_command("migrate").err


def test_an_empty_variable_counts_as_missing(
    run_command: RunCommand, runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", "")
    monkeypatch.setenv("RUNLEDGER_SCHEMA", "")
    monkeypatch.setenv("DATABASE_URL", runledger_database.url)

    assert run_command("migrate").out == "up to date\n"


def test_the_options_may_stand_before_the_command(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    ended = run_command("--database-url", runledger_database.url, "--schema", "runledger", "migrate")

    assert (ended.exit_code, ended.out) == (0, "up to date\n")


@pytest.mark.parametrize("source", ["--database-url", "RUNLEDGER_DATABASE_URL", "DATABASE_URL"])
def test_what_is_no_url_is_refused_by_its_source_and_not_shown(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    url = "postgresql+asyncpg://user:secret-word@host/shop"
    words = [source, url] if source.startswith("--") else []
    if not words:
        monkeypatch.setenv(source, url)

    ended = run_command("migrate", *words)

    assert ended.exit_code == 2
    assert ended.err == (
        f"runledger: error: {source}: is not a PostgreSQL URL, or has a parameter or an escape that libpq does not "
        "know; write it as postgresql://user@host:5432/database\n"
    )


def test_an_impossible_schema_is_refused_by_its_source(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = run_command("migrate", "--database-url", "postgresql:///shop", "--schema", "pg_jobs")
    monkeypatch.setenv("RUNLEDGER_SCHEMA", 'a"b')
    from_variable = run_command("migrate", "--database-url", "postgresql:///shop")

    assert (given.exit_code, from_variable.exit_code) == (2, 2)
    assert given.err.startswith("runledger: error: --schema: begins with 'pg_'")
    assert from_variable.err.startswith("runledger: error: RUNLEDGER_SCHEMA: is empty or holds a quote")


@pytest.mark.parametrize("command", [["migrate"], ["job", JOB_ID]], ids=["migrate", "job"])
def test_a_server_that_cannot_be_reached_is_told_without_the_password(
    run_command: RunCommand, command: list[str]
) -> None:
    ended = run_command(*command, "--database-url", "postgresql://user:secret-word@127.0.0.1:1/shop")

    assert ended.exit_code == 1
    assert ended.err == (
        "runledger: error: cannot reach PostgreSQL at host 127.0.0.1, port 1, database shop: nothing listens there; "
        "check --database-url, and that the server runs there and lets you in\n"
    )


def test_a_database_that_does_not_exist_is_told(run_command: RunCommand, runledger_database: EphemeralDatabase) -> None:
    ended = run_command("migrate", "--database-url", make_conninfo(runledger_database.url, dbname="absent"))

    assert ended.exit_code == 1
    assert "database absent: there is no such database; check --database-url" in ended.err


def test_a_text_of_the_driver_that_quotes_the_url_is_not_shown(run_command: RunCommand) -> None:
    ended = run_command("migrate", "--database-url", "postgresql://127.0.0.1:1/shop?sslmode=secret-word")

    assert ended.exit_code == 1
    assert "cannot reach PostgreSQL at host 127.0.0.1, port 1, database shop; check" in ended.err
    assert "secret-word" not in ended.err


def test_a_schema_that_was_named_and_is_not_there_is_bad_input(
    run_command: RunCommand, runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = run_command("job", JOB_ID, "--database-url", runledger_database.url, "--schema", "Typo 1")
    monkeypatch.setenv("RUNLEDGER_SCHEMA", "typo")
    from_variable = run_command("job", JOB_ID, "--database-url", runledger_database.url)

    assert (given.exit_code, from_variable.exit_code) == (2, 2)
    assert given.err.startswith("runledger: error: --schema: there is no schema Typo 1 at host ")
    assert from_variable.err.startswith("runledger: error: RUNLEDGER_SCHEMA: there is no schema typo at host ")
    assert given.err.endswith("; correct the name, or create it with `runledger migrate`\n")


def test_a_schema_that_is_there_without_tables_is_not_migrated(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    execute(runledger_database, 'CREATE SCHEMA "Jobs 1"')

    ended = run_command("job", JOB_ID, "--database-url", runledger_database.url, "--schema", "Jobs 1")

    assert ended.exit_code == 1
    assert ended.err.startswith("runledger: error: schema Jobs 1 at host ")
    assert ended.err.endswith(" has no tables of Runledger; create them with `runledger migrate`\n")


def test_the_default_schema_that_is_not_there_is_not_migrated(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    execute(runledger_database, "DROP SCHEMA runledger CASCADE")

    ended = run_command("job", JOB_ID, "--database-url", runledger_database.url)

    assert ended.exit_code == 1
    assert "schema runledger at host " in ended.err
    assert ended.err.endswith("create them with `runledger migrate`\n")


def test_tables_of_another_version_are_told(run_command: RunCommand, runledger_database: EphemeralDatabase) -> None:
    execute(runledger_database, "ALTER TABLE runledger.job_queue RENAME COLUMN output TO result")

    ended = run_command("job", JOB_ID, "--database-url", runledger_database.url)

    assert ended.exit_code == 1
    assert "are not those of this version; run `runledger migrate`, or upgrade runledger-pg" in ended.err


def test_another_error_of_the_database_is_told_with_its_code(
    run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    url = make_conninfo(runledger_database.url, options="-c role=pg_monitor")

    ended = run_command("job", JOB_ID, "--database-url", url)

    assert ended.exit_code == 1
    assert ended.err.endswith(
        ": the database role may not do this; `runledger grants` prints what each role needs (db.permission_denied)\n"
    )


def test_the_embedded_server_is_started_and_has_a_database_of_its_name(
    run_command: RunCommand, server_parent: Path
) -> None:
    migrated = run_command("migrate", "--embedded", "demo")
    missing = run_command("job", JOB_ID, "--embedded", "demo")

    assert migrated.exit_code == 0
    assert migrated.out.startswith("applied ")
    assert [path.name for path in server_parent.iterdir()] == ["demo"]
    assert missing.exit_code == 1
    assert f"there is no job {UUID(JOB_ID)} in schema runledger at host " in missing.err
    assert "database demo" in missing.err


@pytest.mark.usefixtures("server_parent")
@pytest.mark.parametrize(
    ("name", "problem"), [("a/b", "is not a plain file name"), ("x" * 64, "cannot be the name of a database")]
)
def test_an_impossible_name_of_an_embedded_server_is_refused(run_command: RunCommand, name: str, problem: str) -> None:
    ended = run_command("migrate", f"--embedded={name}")

    assert ended.exit_code == 2
    assert ended.err.startswith(f"runledger: error: --embedded: {problem}; use ")


def test_an_embedded_server_that_does_not_start_is_told(
    run_command: RunCommand, server_parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNLEDGER_PG_BIN", str(server_parent))

    ended = run_command("migrate", "--embedded")

    assert ended.exit_code == 1
    assert ended.err.startswith("runledger: error: there are no PostgreSQL binaries in ")
