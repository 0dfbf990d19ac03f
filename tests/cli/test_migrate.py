from __future__ import annotations

import psycopg

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
