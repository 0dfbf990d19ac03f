"""``runledger catalog`` with a catalog in a file, against a database."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from runledger import SyncLedger
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand

_HANDLERS = """\
from datetime import timedelta

from runledger import JobCatalog, JobContext

catalog = JobCatalog("shop")


async def handle(context: JobContext, payload: dict) -> None: ...

"""
_BOTH = """
catalog.job("old")(handle)
catalog.job("new", max_attempts=3)(handle)
catalog.schedule("nightly", "old", "30 2 * * *", timezone="Europe/Berlin", payload={"token": "secret"})
"""

_LATER = """
catalog.job("new", max_attempts=3, timeout=timedelta(minutes=2), priority=7)(handle)
"""

_OVERRIDE = """
catalog.override_definition("new", timeout=timedelta(minutes=2), priority=7)
"""

Declare: TypeAlias = Callable[[str], str]
"""Writes a module that declares something, and returns the path of its catalog."""


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Write modules into the directory in which the command is started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    count = 0

    def write(source: str) -> str:
        nonlocal count
        count += 1
        name = f"declared_{tmp_path.name.replace('-', '_')}_{count}"
        (tmp_path / f"{name}.py").write_text(_HANDLERS + source, encoding="utf-8")
        return f"{name}:catalog"

    return write


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """A ledger on the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        yield opened


def test_what_a_catalog_declares_is_shown_without_a_database(declare: Declare, run_command: RunCommand) -> None:
    path = declare(_BOTH)

    ended = run_command("catalog", "show", path)

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "Catalog shop",
        "",
        "  type  enabled  attempts  timeout  priority",
        "  new   yes      3         15 min   100",
        "  old   yes      8         15 min   100",
        "",
        "  schedule  active  type  expression  time zone",
        "  nightly   yes     old   30 2 * * *  Europe/Berlin",
    ]
    document = json.loads(run_command("catalog", "show", path, "--json").out)
    assert (document["scope"], document["definitions"][0]["max_attempts"]) == ("shop", 3)
    assert "secret" not in str(document)


def test_the_database_becomes_what_a_catalog_declares(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    path = declare(_BOTH)

    first, again = run_command("catalog", "sync", path), run_command("catalog", "sync", path)

    assert first.out.splitlines() == [
        "  type      new      inserted",
        "  type      old      inserted",
        "  schedule  nightly  inserted",
    ]
    assert again.out == "up to date\n"
    assert ledger.get_schedule("nightly") is not None


def test_a_dry_run_says_what_would_change_and_changes_nothing(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    run_command("catalog", "sync", declare(_BOTH))
    path = declare('catalog.job("new", max_attempts=4)(handle)')

    ended = run_command("catalog", "sync", path, "--exact", "--dry-run")

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "  type      new      updated: attempts 3 -> 4",
        "  type      old      disabled",
        "  schedule  nightly  paused",
        "",
        "Nothing was written: this was a dry run.",
    ]
    old, nightly = ledger.get_job_definition("old"), ledger.get_schedule("nightly")
    assert old is not None
    assert nightly is not None
    assert old.is_enabled
    assert nightly.is_active


def test_a_disabled_type_that_is_not_declared_any_more_is_given_up(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    run_command("catalog", "sync", declare('catalog.job("old")(handle)' + _LATER))
    ledger.update_job_definition("old", is_enabled=False)

    ended = run_command("catalog", "sync", declare(_LATER), "--exact")

    assert (ended.exit_code, ended.out) == (0, "  type  old  updated\n")
    old = ledger.get_job_definition("old")
    assert old is not None
    assert old.catalog_scope is None


def test_a_payload_that_python_cannot_read_is_compared_as_text(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    path = declare(_BOTH)
    run_command("catalog", "sync", path)
    with ledger.transaction() as connection:
        connection.execute("UPDATE runledger.job_schedules SET payload_template = '[1e5000]'")

    ended = run_command("catalog", "sync", path)

    assert (ended.exit_code, ended.out) == (0, "  schedule  nightly  updated: payload\n")


def test_a_changed_payload_is_named_without_its_values(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    assert ledger
    run_command("catalog", "sync", declare(_BOTH))
    changed = _BOTH.replace("secret", "another").replace("30 2", "0 3").replace("Berlin", "Paris")
    path = declare(changed.replace("timezone", "max_jitter=timedelta(minutes=1), timezone") + _OVERRIDE)

    ended = run_command("catalog", "sync", path, "--dry-run")

    of_type, of_schedule = ended.out.splitlines()[:2]
    assert of_type == "  type      new      updated: timeout 15 min -> 2 min, priority 100 -> 7"
    assert of_schedule == (
        "  schedule  nightly  updated: expression 30 2 * * * -> 0 3 * * *, time zone Europe/Berlin -> Europe/Paris, "
        "jitter 0 ms -> 1 min, payload"
    )
    as_json = run_command("catalog", "sync", path, "--dry-run", "--json").out
    assert {"setting": "payload_template", "before": None, "after": None} in json.loads(as_json)["changes"][
        "schedules"
    ]["nightly"]
    assert "another" not in ended.out + as_json
    assert "secret" not in ended.out + as_json


def test_what_changed_can_be_read_by_programs(ledger: SyncLedger, declare: Declare, run_command: RunCommand) -> None:
    assert ledger
    run_command("catalog", "sync", declare(_BOTH))

    ended = run_command("catalog", "sync", declare('catalog.job("new")(handle)'), "--exact", "--json")

    assert json.loads(ended.out) == {
        "scope": "shop",
        "is_dry_run": False,
        "inserted": [],
        "updated": ["new"],
        "changes": {
            "types": {"new": [{"setting": "max_attempts", "before": 3, "after": 8}]},
            "schedules": {},
        },
        "disabled": ["old"],
        "enabled": [],
        "schedules": {"inserted": [], "updated": [], "paused": ["nightly"], "deleted": []},
    }


def test_what_an_operator_disabled_is_enabled_only_if_asked(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    path = declare(_BOTH)
    run_command("catalog", "sync", path)
    ledger.update_job_definition("new", is_enabled=False)

    kept = run_command("catalog", "sync", path)
    restored = run_command("catalog", "sync", path, "--restore-enabled")

    assert (kept.out, restored.out) == ("up to date\n", "  type  new  enabled\n")


def test_what_a_rule_forbids_is_told_with_its_code(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    run_command("catalog", "sync", declare(_BOTH))
    ledger.upsert_schedule("operator's", "old", "0 0 * * *")

    ended = run_command("catalog", "sync", declare('catalog.job("new")(handle)'), "--exact")

    assert (ended.exit_code, ended.out) == (1, "")
    assert "active schedules make jobs of 'old'" in ended.err
    assert "(job_definition.active_schedule_exists)" in ended.err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "argument MODULE:ATTRIBUTE: the catalog "),
        ('catalog.job("new")(handle)\ncatalog.schedule("n", "nwe", "0 0 * * *")', "did you mean 'new'?"),
        ("from runledger import JobRegistry\ncatalog = JobRegistry()", "is of type JobRegistry, not JobCatalog; "),
    ],
    ids=["empty", "schedule of another type", "registry"],
)
def test_a_catalog_that_cannot_be_synced_is_bad_input(
    declare: Declare, run_command: RunCommand, source: str, message: str
) -> None:
    ended = run_command("catalog", "sync", declare(source))

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith("runledger: error: ")
    assert message in ended.err


def test_a_time_zone_that_is_not_there_is_bad_input(
    ledger: SyncLedger, declare: Declare, run_command: RunCommand
) -> None:
    assert ledger
    path = declare('catalog.job("new")(handle)\ncatalog.schedule("n", "new", "0 0 * * *", timezone="Mars/Olympus")')

    ended = run_command("catalog", "sync", path)

    assert ended.exit_code == 2
    assert "timezone of schedule 'n': is not a time zone that this host knows ('Mars/Olympus')" in ended.err
