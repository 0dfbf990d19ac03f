"""``runledger config`` against a database."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from runledger import SyncLedger
from runledger.core import JobDefinition
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """A ledger with a definition, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        opened.upsert_job_definitions([JobDefinition(job_type="mail.newsletter")])
        yield opened


def test_a_config_is_stored_and_shown(ledger: SyncLedger, run_command: RunCommand) -> None:
    ended = run_command("config", "set", "mail.newsletter", '{"mails_per_minute": 10}')

    assert (ended.exit_code, ended.err) == (0, "")
    stored = ledger.get_required_runtime_config("mail.newsletter")
    assert (stored.config, stored.schema_version) == ({"mails_per_minute": 10}, 1)
    assert run_command("config", "show", "mail.newsletter").out == ended.out
    assert ended.out.startswith("Runtime config of mail.newsletter\n\n  schema version:  1\n  changed:         ")
    assert ended.out.endswith('Z\n\n{\n  "mails_per_minute": 10\n}\n')


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("[1]", "is no JSON object; write it as"),
        ('{"rate": NaN}', "is no JSON; write it as"),
        ('{"rate": 1e999}', "has a number that is too large; write it as text"),
    ],
)
def test_a_config_that_cannot_be_is_refused_with_a_remedy_for_a_shell(
    ledger: SyncLedger, run_command: RunCommand, config: str, problem: str
) -> None:
    ended = run_command("config", "set", "mail.newsletter", config)

    example = """ '{"mails_per_minute": 10}'""" if problem.endswith("it as") else ""
    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err == f"runledger: error: JSON: {problem}{example}\n"
    assert ledger.get_runtime_config("mail.newsletter") is None


def test_a_change_keeps_the_schema_version_unless_another_is_given(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_runtime_config("mail.newsletter", {}, schema_version=3)

    run_command("config", "set", "mail.newsletter", '{"a": 1}')
    assert ledger.get_required_runtime_config("mail.newsletter").schema_version == 3

    run_command("config", "set", "mail.newsletter", '{"a": 1}', "--schema-version", "4")
    assert ledger.get_required_runtime_config("mail.newsletter").schema_version == 4


def test_configs_are_listed_without_what_is_in_them(ledger: SyncLedger, run_command: RunCommand) -> None:
    assert run_command("config", "list").out == "  none\n"
    ledger.upsert_runtime_config("mail.newsletter", {"sender": "news@example.com"})

    listed = run_command("config", "list").out

    assert listed.splitlines()[0].split() == ["type", "schema", "version", "changed"]
    assert listed.splitlines()[1].split()[:2] == ["mail.newsletter", "1"]
    assert "news@example.com" not in listed


def test_a_config_that_python_cannot_read_is_listed_shown_and_replaced(
    ledger: SyncLedger, run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    ledger.upsert_runtime_config("mail.newsletter", {"mails_per_minute": 10})
    unreadable = f'{{"mails_per_minute": {"9" * 5_000}}}'
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("UPDATE runledger.job_runtime_configs SET config = %s::jsonb", [unreadable])

    assert "mail.newsletter" in run_command("config", "list").out
    assert run_command("config", "show", "mail.newsletter").out.endswith(f"Z\n\n{unreadable}\n")
    for arguments in (["list"], ["show", "mail.newsletter"]):
        refused = run_command("config", *arguments, "--json")
        assert refused.exit_code == 1
        assert "of type mail.newsletter cannot be shown as JSON" in refused.err
        assert "a number has too many digits; leave --json out" in refused.err
    assert run_command("config", "set", "mail.newsletter", "{}").exit_code == 0


@pytest.mark.parametrize("depth", [1_200, 3_000])
def test_a_config_that_is_nested_too_deep_is_shown_and_told_as_json(
    depth: int, ledger: SyncLedger, run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    """What is too deep is Python's own affair: 3.11 reads neither, 3.12 does not indent the first, 3.13 writes both."""
    ledger.upsert_runtime_config("mail.newsletter", {})
    deep = f'{{"a":{"[" * depth}{"]" * depth}}}'
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("UPDATE runledger.job_runtime_configs SET config = %s::jsonb", [deep])

    assert _without_blanks(run_command("config", "show", "mail.newsletter").out).endswith(f"Z{deep}")
    as_json = run_command("config", "show", "mail.newsletter", "--json")
    if as_json.exit_code == 0:
        assert f'"config":{deep},' in _without_blanks(as_json.out)
    else:
        assert "nested too deep" in as_json.err
        assert as_json.out == ""


def test_json_has_the_whole_config(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_runtime_config("mail.newsletter", {"sender": "news@example.com"})

    shown = json.loads(run_command("config", "show", "mail.newsletter", "--json").out)

    assert shown["config"] == {"sender": "news@example.com"}
    assert list(shown) == [
        *("job_type", "schema_version", "config", "updated_by_user_id", "created_at", "updated_at"),
    ]
    assert json.loads(run_command("config", "list", "--json").out) == {"configs": [shown]}


def test_a_config_is_deleted_once(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_runtime_config("mail.newsletter", {})

    ended = run_command("config", "delete", "mail.newsletter")
    again = run_command("config", "delete", "mail.newsletter")

    assert (ended.exit_code, ended.out) == (0, "deleted the runtime config of mail.newsletter\n")
    assert again.exit_code == 1
    assert "there is no runtime config of type mail.newsletter in schema runledger" in again.err
    assert run_command("config", "show", "mail.newsletter").exit_code == 1


@pytest.mark.parametrize(
    ("words", "told", "exit_code"),
    [
        (("mail.newsletter", "{secret"), "JSON: is no JSON; write it as", 2),
        (("mail.newsletter", '["secret"]'), "JSON: ", 2),
        (("mail.unknown", '{"a": "secret"}'), "job.definition_not_found", 1),
    ],
)
def test_what_cannot_be_stored_is_told_without_its_text(
    ledger: SyncLedger, run_command: RunCommand, words: tuple[str, ...], told: str, exit_code: int
) -> None:
    assert ledger

    ended = run_command("config", "set", *words)

    assert ended.exit_code == exit_code
    assert told in ended.err
    assert "secret" not in ended.err


def test_a_config_that_is_nested_too_deep_is_told_by_its_argument(ledger: SyncLedger, run_command: RunCommand) -> None:
    assert ledger

    ended = run_command("config", "set", "mail.newsletter", "[" * 100_000)

    assert (ended.exit_code, ended.err) == (2, "runledger: error: JSON: is nested too deep; flatten it\n")


def _without_blanks(text: str) -> str:
    return "".join(text.split())
