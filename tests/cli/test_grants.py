from __future__ import annotations

import pytest

from runledger.postgres.privileges import Duty, grant_statements
from tests.cli.conftest import RunCommand


def test_the_statements_of_the_named_roles_are_printed_quoted(run_command: RunCommand) -> None:
    role = 'web"; DROP TABLE x; --'
    ended = run_command("grants", "--producer", role, "--worker", "worker", "--schema", "Other jobs")

    statements = [line for line in ended.out.splitlines() if line and not line.startswith("--")]
    assert (ended.exit_code, ended.err) == (0, "")
    assert statements == [
        f"{statement};"
        for duty, name in ((Duty.WORKER, "worker"), (Duty.PRODUCER, role))
        for statement in grant_statements(duty, name, schema="Other jobs")
    ]
    assert 'GRANT USAGE ON SCHEMA "Other jobs" TO "web""; DROP TABLE x; --";' in statements


def test_the_migrator_gets_a_schema_of_its_own(run_command: RunCommand) -> None:
    ended = run_command("grants", "--migrator", "Deploy")

    assert ended.out.splitlines()[1:] == ['CREATE SCHEMA IF NOT EXISTS "runledger" AUTHORIZATION "Deploy";']


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no role is given; use --migrator, --worker or --producer"),
        (["--worker", ""], "--worker: is empty"),
        (["--worker", "w", "--producer", "public"], "--producer: means no single role"),
        (["--producer", "p", "--schema", "pg_jobs"], "--schema: begins with 'pg_'"),
    ],
    ids=["nobody", "blank", "everybody", "schema"],
)
def test_what_cannot_be_granted_is_refused(run_command: RunCommand, words: list[str], message: str) -> None:
    ended = run_command("grants", *words)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith(f"runledger: error: {message}")
