"""``runledger schedule``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from runledger import JobDefinition, SyncLedger
from runledger.core import Admin, CatchUp, Overlap
from runledger.postgres import run_sync, schedules
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.postgres.schedules.steps import request

TYPE, NAME, CRON = "report.build", "nightly", "30 2 * * *"
OURS = "018fa1f8-0000-7000-8000-0000000000aa"


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """A ledger with one job type, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        opened.ensure_job_definitions([JobDefinition(job_type=TYPE)])
        yield opened


def test_a_schedule_is_made_shown_and_listed(ledger: SyncLedger, run_command: RunCommand) -> None:
    made = run_command("schedule", "set", NAME, "--type", TYPE, "--cron", CRON, "--timezone", "Europe/Berlin")
    shown = run_command("schedule", "show", NAME)
    listed = run_command("schedule", "list")

    schedule = ledger.get_schedule(NAME)
    assert schedule is not None
    next_fire = f"{schedule.next_fire_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert (made.exit_code, made.err, made.out) == (0, "", shown.out)
    assert shown.out.splitlines() == [
        "Schedule nightly",
        "",
        "  state:         active",
        "  type:          report.build",
        "  expression:    30 2 * * *",
        "  time zone:     Europe/Berlin",
        f"  next fire:     {next_fire}",
        "  last fire:     never",
        "  last job:      none",
        "  jitter:        0 ms",
        "  catch-up:      latest",
        "  overlap:       allow",
        "  organization:  none",
        "  owner:         operator",
    ]
    assert [re.split(" {2,}", line.strip()) for line in listed.out.splitlines()] == [
        ["name", "state", "next fire", "last fire", "type", "expression", "time zone"],
        [NAME, "active", next_fire, "never", TYPE, CRON, "Europe/Berlin"],
    ]


def test_what_is_given_is_changed_and_nothing_else(ledger: SyncLedger, run_command: RunCommand) -> None:
    before = ledger.upsert_schedule(
        NAME,
        TYPE,
        CRON,
        payload_template=None,
        timezone="Asia/Kolkata",
        organization_id=UUID(OURS),
        max_jitter=timedelta(seconds=5),
        catch_up=CatchUp.ALL,
        catch_up_limit=3,
        overlap=Overlap.SKIP,
    )
    ledger.pause_schedule(NAME, scope=Admin())

    ended = run_command("schedule", "set", NAME, "--jitter", "10s")

    assert (ended.exit_code, ended.err) == (0, "")
    after = ledger.get_schedule(NAME, scope=Admin())
    assert after is not None
    assert (after.max_jitter, after.is_active) == (timedelta(seconds=10), False)
    for name in (
        "payload_template",
        "timezone",
        "organization_id",
        "catch_up",
        "catch_up_limit",
        "overlap",
        "cron_expr",
    ):
        assert getattr(after, name) == getattr(before, name)


def test_every_setting_can_be_given(ledger: SyncLedger, run_command: RunCommand) -> None:
    words = ["--type", TYPE, "--cron", CRON, "--payload", '{"secret": 1}', "--jitter", "1m", "--catch-up", "all"]
    words += ["--catch-up-limit", "7", "--overlap", "skip", "--organization", OURS, "--paused"]
    words += ["--next-fire-at", "2096-01-01T00:00Z"]

    ended = run_command("schedule", "set", NAME, *words, "--json")

    document = json.loads(ended.out)
    expected = {
        "state": "paused",
        "name": NAME,
        "job_type": TYPE,
        "organization_id": OURS,
        "cron_expr": CRON,
        "timezone": "UTC",
        "is_active": False,
        "next_fire_at": "2096-01-01T00:00:00.000000Z",
        "deferred_due_at": None,
        "last_fired_at": None,
        "last_job_id": None,
        "max_jitter_seconds": 60,
        "catch_up": "all",
        "catch_up_limit": 7,
        "overlap": "skip",
        "owner": "operator",
        "catalog_scope": None,
        "absent_since": None,
    }
    assert {name: document[name] for name in expected} == expected
    assert set(document) == {*expected, "schedule_id", "created_at", "updated_at"}
    assert ledger.get_schedule(NAME, scope=Admin())


def test_numbers_of_a_template_that_is_not_given_stay_exact(
    ledger: SyncLedger, runledger_database: EphemeralDatabase, run_command: RunCommand
) -> None:
    exact = '{"price": 1.10, "amount": 12345678901234567890.123456789}'
    ledger.upsert_schedule(NAME, TYPE, CRON)
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("UPDATE runledger.job_schedules SET payload_template = %s::jsonb", [exact])

    ended = run_command("schedule", "set", NAME, "--jitter", "5s", "--show-payload")

    assert (ended.exit_code, ended.err) == (0, "")
    assert f"payload:       {exact}" in ended.out
    with psycopg.connect(runledger_database.url) as connection:
        stored = connection.execute("SELECT payload_template = %s::jsonb FROM runledger.job_schedules", [exact])
        assert stored.fetchone() == (True,)


def test_a_schedule_whose_template_cannot_be_read_is_listed_and_paused(
    ledger: SyncLedger, runledger_database: EphemeralDatabase, run_command: RunCommand
) -> None:
    ledger.upsert_schedule(NAME, TYPE, CRON)
    with psycopg.connect(runledger_database.url) as connection:
        too_long = "9" * 5_000
        connection.execute("UPDATE runledger.job_schedules SET payload_template = %s::jsonb", [too_long])

    paused, listed = run_command("schedule", "pause", NAME), run_command("schedule", "list", "--json")
    shown = run_command("schedule", "show", NAME, "--json", "--show-payload")

    assert (paused.exit_code, listed.exit_code) == (0, 0)
    assert [one["state"] for one in json.loads(listed.out)["schedules"]] == ["paused"]
    assert (shown.exit_code, shown.out) == (1, "")
    assert "too many digits" in shown.err


def test_the_payload_is_shown_only_if_asked(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_schedule(NAME, TYPE, CRON, payload_template={"token": "secret"})

    for words in (["show", NAME], ["list"]):
        assert "secret" not in run_command("schedule", *words, "--json").out
        assert "secret" in run_command("schedule", *words, "--json", "--show-payload").out
    assert "secret" not in run_command("schedule", "show", NAME).out
    assert '"secret"' in run_command("schedule", "show", NAME, "--show-payload").out


def test_pause_and_resume(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_schedule(NAME, TYPE, CRON)

    paused, listed = run_command("schedule", "pause", NAME), run_command("schedule", "list")
    resumed = run_command("schedule", "resume", NAME)

    assert "state:         paused" in paused.out
    assert paused.out.splitlines()[-1].startswith("A paused schedule makes no jobs; ")
    assert re.search(r"nightly  paused  -  ", listed.out)
    assert "state:         active" in resumed.out


def test_a_deleted_schedule_is_gone(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_schedule(NAME, TYPE, CRON)

    assert run_command("schedule", "delete", NAME).out == "deleted schedule nightly; its jobs stay\n"
    assert ledger.get_schedule(NAME) is None
    assert run_command("schedule", "list").out == "  none\n"


def test_now_makes_it_due_at_once(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.upsert_schedule(NAME, TYPE, "0 0 1 1 *")

    assert run_command("schedule", "set", NAME, "--next-fire-at", "now").exit_code == 0

    with ledger.transaction() as connection:
        result = run_sync(connection, schedules.fire_due_schedules(limit=1, grace=timedelta(minutes=1)))
    assert result.job_count == 1


def test_states_that_need_attention_are_told(ledger: SyncLedger, run_command: RunCommand) -> None:
    with ledger.transaction() as connection:
        run_sync(connection, schedules.sync_catalog_schedules("shop", [request(job_type=TYPE)]))
        run_sync(
            connection,
            schedules.sync_catalog_schedules("shop", [], absent=schedules.AbsentSchedules.PAUSE),
        )
        connection.execute(
            """
            INSERT INTO runledger.job_schedules (name, job_type, cron_expr, next_fire_at, deferred_due_at)
            VALUES ('broken', 'report.build', 'never', now(), '2026-05-26T12:00Z')"""
        )

    listed = json.loads(run_command("schedule", "list", "--json").out)

    assert {one["name"]: one["state"] for one in listed["schedules"]} == {NAME: "absent", "broken": "failing"}
    assert "waits since:   2026-05-26T12:00:00.000000Z" in run_command("schedule", "show", "broken").out
    assert "owner:         catalog shop" in run_command("schedule", "show", NAME).out


@pytest.mark.parametrize(
    ("damage", "failure"),
    [
        ("cron_expr = '99 * * * *'", "job_schedule.invalid_cron: cron_expr (minute) has 99"),
        (
            "timezone = 'Mars'",
            "job_schedule.invalid_timezone: timezone is not a time zone that this host knows ('Mars')",
        ),
        (None, "job_schedule.definition_not_found_or_disabled: job type 'report.build' is disabled"),
        ("overlap = 'allow'", "not known here; the log of the scheduler has the code (scheduler.schedule_deferred)"),
    ],
    ids=["cron", "zone", "definition", "database"],
)
def test_a_schedule_that_fails_says_why(
    ledger: SyncLedger, run_command: RunCommand, damage: str | None, failure: str
) -> None:
    ledger.upsert_schedule(NAME, TYPE, CRON)
    assert "failure" not in json.loads(run_command("schedule", "show", NAME, "--json").out)
    with ledger.transaction() as connection:
        connection.execute("UPDATE runledger.job_schedules SET deferred_due_at = now()")
        if damage is None:
            connection.execute("UPDATE runledger.job_definitions SET is_enabled = false")
        else:
            connection.execute(f"UPDATE runledger.job_schedules SET {damage}".encode())

    assert json.loads(run_command("schedule", "show", NAME, "--json").out)["failure"] == failure
    assert f"failure:       {failure}" in run_command("schedule", "show", NAME).out


def test_only_names_with_a_text_and_of_a_type_are_listed(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.ensure_job_definitions([JobDefinition(job_type="mail.send")])
    ledger.upsert_schedule(NAME, TYPE, CRON)
    ledger.upsert_schedule("mail", "mail.send", CRON)

    by_name = json.loads(run_command("schedule", "list", "NIGHT", "--json").out)
    by_type = json.loads(run_command("schedule", "list", "--type", "mail.send", "--json").out)

    assert [one["name"] for one in by_name["schedules"]] == [NAME]
    assert [one["name"] for one in by_type["schedules"]] == ["mail"]


@pytest.mark.parametrize("action", ["show", "pause", "resume", "delete"])
def test_a_schedule_that_is_not_there_is_told(ledger: SyncLedger, run_command: RunCommand, action: str) -> None:
    assert ledger

    ended = run_command("schedule", action, "nowhere")

    assert (ended.exit_code, ended.out) == (1, "")
    assert ended.err.startswith("runledger: error: there is no schedule nowhere in schema runledger at ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cron", CRON], "there is no schedule nightly yet, and --type is missing"),
        (["--type", TYPE], "there is no schedule nightly yet, and --cron is missing"),
        (["--next-fire-at", "now"], "there is no schedule nightly yet, and --type is missing"),
        (["--type", TYPE, "--cron", "30 25 * * *"], "--cron (hour): "),
        (["--type", TYPE, "--cron", CRON, "--timezone", "Mars"], "--timezone: "),
        (["--type", TYPE, "--cron", CRON, "--jitter", "2000m"], "--jitter: "),
        (["--type", TYPE, "--cron", CRON, "--payload", "{"], "--payload: is no JSON"),
        (["--type", TYPE, "--cron", CRON, "--catch-up-limit", "2000"], "--catch-up-limit: "),
        (["--next-fire-at", "0001-01-01T00:00Z", "--type", TYPE, "--cron", CRON], "--next-fire-at: "),
        (["--next-fire-at", "2026-01-01"], "argument --next-fire-at: '2026-01-01' has no time zone"),
        (["--next-fire-at", "soon"], "argument --next-fire-at: 'soon' is no instant"),
        ([], "nothing is to be changed; "),
    ],
)
def test_what_no_schedule_can_have_is_bad_input(
    ledger: SyncLedger, run_command: RunCommand, words: list[str], message: str
) -> None:
    ended = run_command("schedule", "set", NAME, *words)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith(f"runledger: error: {message}")
    assert ledger.list_schedules() == []


def test_a_type_without_definition_is_refused(ledger: SyncLedger, run_command: RunCommand) -> None:
    assert ledger

    ended = run_command("schedule", "set", NAME, "--type", "nowhere", "--cron", CRON)

    assert ended.exit_code == 1
    assert "(job_schedule.definition_not_found_or_disabled)" in ended.err


class TestNext:
    def test_the_coming_times_are_printed_without_a_database(self, run_command: RunCommand) -> None:
        """On the second day there are two 02:30, and the first counts."""
        words = [CRON, "--timezone", "Europe/Berlin", "--after", "2026-10-24T00:00Z", "--count", "3"]

        ended = run_command("schedule", "next", *words)
        document = json.loads(run_command("schedule", "next", *words, "--json").out)

        assert ended.out.splitlines() == [
            "  2026-10-24 02:30:00+02:00  2026-10-24T00:30:00Z",
            "  2026-10-25 02:30:00+02:00  2026-10-25T00:30:00Z",
            "  2026-10-26 02:30:00+01:00  2026-10-26T01:30:00Z",
        ]
        assert document == {
            "cron_expr": CRON,
            "timezone": "Europe/Berlin",
            "times": ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        }

    def test_five_times_from_now_in_utc_are_the_default(self, run_command: RunCommand) -> None:
        assert len(run_command("schedule", "next", "@hourly").out.splitlines()) == 5

    def test_the_end_is_told(self, run_command: RunCommand) -> None:
        ended = run_command("schedule", "next", "0 0 0 1 1 ? 2027", "--after", "2026-01-01T00:00Z")

        assert ended.out.splitlines() == ["  2027-01-01 00:00:00+00:00  2027-01-01T00:00:00Z", "It fires no more."]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["often"], "EXPRESSION: has 1 field; "),
            (["30 25 * * *"], "EXPRESSION (hour): "),
            ([CRON, "--timezone", "Mars"], "--timezone: is not a time zone"),
            ([CRON, "--after", "0001-01-01T00:00Z"], "--after: is out of range; "),
        ],
    )
    def test_what_cannot_be_read_is_bad_input(self, run_command: RunCommand, words: list[str], message: str) -> None:
        ended = run_command("schedule", "next", *words)

        assert (ended.exit_code, ended.out) == (2, "")
        assert ended.err.startswith(f"runledger: error: {message}")
