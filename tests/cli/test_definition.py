"""``runledger definition`` against a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from runledger import QueryError, SyncLedger
from runledger.core import CatalogDeclaration, JobDefinition
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.docs.pages import DOCS

DISABLED = (
    "A disabled type takes no new jobs (job.definition_not_found_or_disabled); the jobs that it has are still run."
)
EMAIL = {
    "job_type": "email.send",
    "version": 2,
    "max_attempts": 3,
    "default_timeout_seconds": 90,
    "default_priority": 50,
    "is_enabled": True,
    "paused_at": None,
    "catalog_scope": None,
}


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """A ledger with two definitions, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        opened.upsert_job_definitions(
            [
                JobDefinition(
                    job_type="email.send",
                    version=2,
                    max_attempts=3,
                    default_timeout=timedelta(seconds=90),
                    default_priority=50,
                ),
                JobDefinition(job_type="sms_send"),
            ]
        )
        yield opened


def test_definitions_are_listed_in_columns(ledger: SyncLedger, run_command: RunCommand) -> None:
    assert ledger

    ended = run_command("definition", "list")

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "  type        enabled  paused  attempts  timeout     priority  version  catalog",
        "  email.send  yes      no      3         1 min 30 s  50        2        -",
        "  sms_send    yes      no      8         15 min      100       1        -",
    ]


def test_the_reference_shows_the_list_as_it_is_printed(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_job_definitions([JobDefinition(job_type="email.send")])
    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")

    assert f"$ runledger definition list\n{run_command('definition', 'list', 'email').out}" in page


def test_what_the_next_sync_of_its_catalog_takes_back_is_warned_of(ledger: SyncLedger, run_command: RunCommand) -> None:
    declared = CatalogDeclaration(scope="shop", definitions=(JobDefinition(job_type="sms_send"),))
    ledger.sync_catalog(declared)

    changed = run_command("definition", "set", "sms_send", "--max-attempts", "3", "--json")
    disabled = run_command("definition", "set", "sms_send", "--disable")

    assert (changed.exit_code, json.loads(changed.out)["catalog_scope"]) == (0, "shop")
    assert changed.err.startswith("runledger: warning: the type belongs to the catalog shop, whose next sync")
    assert disabled.err == ""
    assert "  catalog:   shop\n" in run_command("definition", "show", "sms_send").out
    assert run_command("definition", "set", "email.send", "--max-attempts", "4").err == ""
    ledger.sync_catalog(declared)
    assert json.loads(run_command("definition", "show", "sms_send", "--json").out)["max_attempts"] == 8


@pytest.mark.parametrize(("text", "found"), [("S_S", ["sms_send"]), ("il.", ["email.send"]), ("%", [])])
def test_only_types_with_a_text_are_listed(
    ledger: SyncLedger, run_command: RunCommand, text: str, found: list[str]
) -> None:
    """ADM-026."""
    assert ledger

    document = json.loads(run_command("definition", "list", text, "--json").out)

    assert [definition["job_type"] for definition in document["definitions"]] == found


def test_a_list_of_none_says_so(ledger: SyncLedger, run_command: RunCommand) -> None:
    assert ledger

    assert run_command("definition", "list", "nowhere").out == "  none\n"


def test_more_definitions_than_fit_in_one_page_are_all_listed(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.ensure_job_definitions(JobDefinition(job_type=f"part.{number:04}") for number in range(1_001))

    document = json.loads(run_command("definition", "list", "part.", "--json").out)

    assert [definition["job_type"] for definition in document["definitions"]] == [
        f"part.{number:04}" for number in range(1_001)
    ]


def test_one_definition_is_shown(ledger: SyncLedger, run_command: RunCommand) -> None:
    assert ledger

    assert run_command("definition", "show", "email.send").out.splitlines() == [
        "Job type email.send",
        "",
        "  enabled:   yes",
        "  paused:    no",
        "  attempts:  3",
        "  timeout:   1 min 30 s",
        "  priority:  50",
        "  version:   2",
        "  catalog:   none",
    ]
    assert json.loads(run_command("definition", "show", "email.send", "--json").out) == EMAIL


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (["--max-attempts", "7"], {"max_attempts": 7}),
        (["--timeout", "5m"], {"default_timeout_seconds": 300}),
        (["--priority", "-5"], {"default_priority": -5}),
        (["--disable"], {"is_enabled": False}),
        (["--max-attempts=1", "--disable"], {"max_attempts": 1, "is_enabled": False}),
    ],
    ids=["attempts", "timeout", "priority", "disable", "two"],
)
def test_what_is_given_is_changed_and_nothing_else(
    ledger: SyncLedger, run_command: RunCommand, options: list[str], changes: dict[str, object]
) -> None:
    """ADM-027."""
    assert ledger

    ended = run_command("definition", "set", "email.send", *options, "--json")

    assert (ended.exit_code, ended.err) == (0, "")
    assert json.loads(ended.out) == EMAIL | changes
    assert json.loads(run_command("definition", "show", "email.send", "--json").out) == EMAIL | changes


def test_a_disabled_type_is_told_wherever_it_is_shown_and_can_be_enabled_again(
    ledger: SyncLedger, run_command: RunCommand
) -> None:
    disabled = run_command("definition", "set", "email.send", "--disable")
    shown, listed = run_command("definition", "show", "email.send"), run_command("definition", "list")
    with pytest.raises(QueryError, check=lambda error: error.code == "job.definition_not_found_or_disabled"):
        ledger.enqueue("email.send")
    enabled = run_command("definition", "set", "email.send", "--enable")

    assert disabled.out == shown.out
    for ended in (disabled, shown, listed):
        assert ended.out.splitlines()[-1] == DISABLED
    assert DISABLED not in enabled.out
    assert ledger.enqueue("email.send")


@pytest.mark.parametrize("words", [["show", "emial.send"], ["set", "emial.send", "--disable"]], ids=["show", "set"])
def test_an_unknown_type_is_told(ledger: SyncLedger, run_command: RunCommand, words: list[str]) -> None:
    assert ledger

    ended = run_command("definition", *words)

    assert (ended.exit_code, ended.out) == (1, "")
    assert ended.err.startswith("runledger: error: there is no definition of type emial.send in schema runledger at ")
    assert "`runledger definition list`" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["email.send", "--max-attempts", "3000000000"], "--max-attempts: is out of range; "),
        (["email.send", "--timeout", "1500ms"], "--timeout: has a fraction of a second; "),
        (["email.send", "--priority", "3000000000"], "--priority: is out of range; "),
        ([" ", "--disable"], "TYPE: is blank; "),
    ],
    ids=["attempts", "timeout", "priority", "type"],
)
def test_what_no_definition_can_have_is_bad_input(
    ledger: SyncLedger, run_command: RunCommand, words: list[str], message: str
) -> None:
    assert ledger

    ended = run_command("definition", "set", *words)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith(f"runledger: error: {message}")


def test_a_type_is_paused_and_resumed(ledger: SyncLedger, run_command: RunCommand) -> None:
    paused = run_command("definition", "pause", "sms_send")
    listed = run_command("definition", "list")
    shown = json.loads(run_command("definition", "show", "sms_send", "--json").out)
    definition = ledger.get_job_definition("sms_send")
    assert definition is not None
    assert definition.paused_at is not None
    resumed = run_command("definition", "resume", "sms_send", "--json")

    assert (paused.exit_code, resumed.exit_code) == (0, 0)
    assert "  paused:    since 2" in paused.out
    assert "The jobs of a paused type wait" in paused.out
    assert "The jobs of a paused type wait" in listed.out
    assert datetime.fromisoformat(shown["paused_at"]) == definition.paused_at
    assert json.loads(resumed.out)["paused_at"] is None


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_type_that_is_not_there_cannot_be_paused(ledger: SyncLedger, run_command: RunCommand, action: str) -> None:
    assert ledger
    ended = run_command("definition", action, "unknown")

    assert (ended.exit_code, ended.out) == (1, "")
    assert "there is no definition of type unknown" in ended.err
