"""An operator says what a schedule is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from runledger.core import (
    Admin,
    CatchUp,
    Global,
    InvalidArgumentError,
    InvalidCronError,
    Organization,
    Overlap,
    ScheduleOwner,
    Scope,
)
from runledger.postgres import QueryError, schedules
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.schedules.steps import ADMIN, AT_THREE, EVERY_MINUTE, HOUR, MINUTE, NAME, NOON, get, request, upsert

OURS, THEIRS = (UUID(f"0198c0de-0000-7000-8000-0000000000{digits}") for digits in ("aa", "bb"))


def test_a_new_schedule_is_due_at_its_first_time(queue: JobQueue) -> None:
    schedule = upsert(
        queue,
        cron_expr="30 2 * * *",
        timezone="Europe/Berlin",
        payload_template={"report": "sales"},
        organization_id=OURS,
        catch_up=CatchUp.ALL,
        catch_up_limit=7,
        overlap=Overlap.SKIP,
    )

    assert schedule == get(queue)
    assert (schedule.name, schedule.job_type, schedule.cron_expr) == (NAME, JOB_TYPE, "30 2 * * *")
    assert (schedule.timezone, schedule.next_fire_at) == ("Europe/Berlin", datetime(2026, 5, 27, 0, 30, tzinfo=UTC))
    assert (schedule.payload_template, schedule.organization_id) == ({"report": "sales"}, OURS)
    assert (schedule.catch_up, schedule.catch_up_limit, schedule.overlap) == (CatchUp.ALL, 7, Overlap.SKIP)
    assert (schedule.is_active, schedule.last_fired_at, schedule.last_job_id) == (True, None, None)
    assert (schedule.owner, schedule.catalog_scope, schedule.absent_since) == (ScheduleOwner.OPERATOR, None, None)


def test_jitter_is_made_of_the_id_and_within_its_bound(queue: JobQueue) -> None:
    """SCH-010, SCH-020."""
    jittered = upsert(queue, "jittered", max_jitter=timedelta(seconds=30))
    exact = upsert(queue, "exact")

    assert NOON + HOUR <= jittered.next_fire_at <= NOON + HOUR + timedelta(seconds=30)
    assert jittered.max_jitter == timedelta(seconds=30)
    assert exact.next_fire_at == NOON + HOUR


def test_upsert_of_an_existing_name_replaces_what_it_is_and_keeps_what_an_operator_did(queue: JobQueue) -> None:
    """SCH-015, SCH-016."""
    first = upsert(queue, payload_template={"version": 1}, organization_id=OURS)
    queue.run(schedules.pause_schedule(NAME, scope=ADMIN))
    queue.define("report.build")

    second = upsert(
        queue,
        job_type="report.build",
        payload_template={"version": 2},
        organization_id=THEIRS,
        overlap=Overlap.SKIP,
        max_jitter=timedelta(seconds=5),
        now=NOON + MINUTE,
    )

    assert (second.schedule_id, second.organization_id, second.is_active) == (first.schedule_id, OURS, False)
    assert (second.job_type, second.payload_template) == ("report.build", {"version": 2})
    assert (second.overlap, second.max_jitter) == (Overlap.SKIP, timedelta(seconds=5))
    assert second.next_fire_at == first.next_fire_at


@pytest.mark.parametrize(
    ("changes", "next_fire_at"),
    [
        ({}, NOON - MINUTE),
        ({"payload_template": {"x": 1}}, NOON - MINUTE),
        ({"cron_expr": AT_THREE}, datetime(2026, 5, 27, 3, tzinfo=UTC)),
        ({"timezone": "Asia/Kolkata"}, datetime(2026, 5, 26, 12, 30, tzinfo=UTC)),
    ],
    ids=["nothing", "payload", "cron", "timezone"],
)
def test_only_new_times_change_when_it_is_due(queue: JobQueue, changes: dict[str, Any], next_fire_at: datetime) -> None:
    """SCH-015; a new time zone means new times as well."""
    upsert(queue)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON - MINUTE, scope=ADMIN))

    assert upsert(queue, **changes).next_fire_at == next_fire_at


def test_an_upsert_that_changes_nothing_writes_nothing(queue: JobQueue) -> None:
    first = upsert(queue, payload_template=None)

    assert upsert(queue, payload_template=None, now=NOON + MINUTE) == first


@pytest.mark.parametrize("definition", ["disabled", "missing"])
def test_an_active_schedule_needs_an_enabled_definition(queue: JobQueue, definition: str) -> None:
    if definition == "disabled":
        queue.define("report.build", is_enabled=False)

    with pytest.raises(QueryError) as caught:
        upsert(queue, job_type="report.build")

    assert caught.value.code == "job_schedule.definition_not_found_or_disabled"
    assert "'report.build'" in str(caught.value)
    assert queue.sql("SELECT count(*) FROM job_schedules") == [(0,)]


def test_a_paused_one_needs_the_definition_but_not_that_it_is_enabled(queue: JobQueue) -> None:
    queue.define("report.build", is_enabled=False)

    assert not upsert(queue, job_type="report.build", is_active=False).is_active
    with pytest.raises(QueryError, check=lambda error: error.code == "job_schedule.definition_not_found_or_disabled"):
        upsert(queue, "other", job_type="nowhere", is_active=False)


def test_an_expression_whose_times_are_over_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidCronError) as caught:
        upsert(queue, cron_expr="0 0 0 1 1 ? 2020")

    assert caught.value.code == "job_schedule.invalid_cron"
    assert queue.sql("SELECT count(*) FROM job_schedules") == [(0,)]


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../etc/passwd", "Europe", "/etc/localtime", "Europe/Berlin\t/"])
def test_a_zone_that_nobody_knows_is_refused_before_anything_is_sent(queue: JobQueue, name: str) -> None:
    """In place of SCH-014, which refuses all zones but UTC."""
    with pytest.raises(InvalidArgumentError) as caught:
        upsert(queue, timezone=name)

    assert (caught.value.code, caught.value.field) == ("job_schedule.invalid_timezone", "timezone")


def test_something_else_than_a_request_is_refused(queue: JobQueue) -> None:
    anything: Any = "nightly"
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "request"):
        queue.run(schedules.upsert_schedule(anything, scope=ADMIN))


@pytest.mark.parametrize("scope", [Global(), Organization(THEIRS)], ids=["global", "other organization"])
def test_nobody_changes_the_schedule_of_another_organization(queue: JobQueue, scope: Scope) -> None:
    first = upsert(queue, organization_id=OURS, scope=Organization(OURS))

    with pytest.raises(QueryError) as caught:
        upsert(queue, cron_expr=EVERY_MINUTE, scope=scope)

    assert caught.value.code == "job_schedule.name_taken"
    assert get(queue) == first


@pytest.mark.parametrize(
    ("scope", "organization_id"),
    [(Organization(OURS), THEIRS), (Organization(OURS), None), (Global(), OURS)],
    ids=["other organization", "forgotten organization", "global"],
)
def test_a_new_schedule_outside_the_scope_is_refused(
    queue: JobQueue, scope: Scope, organization_id: UUID | None
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        upsert(queue, organization_id=organization_id, scope=scope)

    assert (caught.value.field, caught.value.code) == ("organization_id", "argument.invalid")
    assert queue.sql("SELECT count(*) FROM job_schedules") == [(0,)]


def test_a_schedule_of_the_scope_is_changed_without_naming_its_organization(queue: JobQueue) -> None:
    upsert(queue, organization_id=OURS)

    changed = upsert(queue, cron_expr=EVERY_MINUTE, scope=Organization(OURS))

    assert (changed.organization_id, changed.cron_expr) == (OURS, EVERY_MINUTE)


@pytest.mark.parametrize("scope", [Global(), Organization(THEIRS)], ids=["global", "other organization"])
def test_a_schedule_of_another_organization_is_as_if_it_did_not_exist(queue: JobQueue, scope: Scope) -> None:
    first = upsert(queue, organization_id=OURS, is_active=False)

    assert queue.run(schedules.get_schedule(NAME, scope=scope)) is None
    assert queue.run(schedules.list_schedules(scope=scope)) == []
    assert queue.run(schedules.pause_schedule(NAME, scope=scope)) is None
    assert queue.run(schedules.activate_schedule(NAME, scope=scope)) is None
    assert queue.run(schedules.set_schedule_next_fire(NAME, NOON, scope=scope)) is None
    assert queue.run(schedules.delete_schedule(NAME, scope=scope)) is False
    assert get(queue) == first


@pytest.mark.parametrize("scope", [Organization(OURS), Admin()], ids=["its organization", "admin"])
def test_its_own_organization_and_operators_see_it(queue: JobQueue, scope: Scope) -> None:
    first = upsert(queue, organization_id=OURS, scope=scope)

    assert queue.run(schedules.get_schedule(NAME, scope=scope)) == first
    assert queue.run(schedules.list_schedules(scope=scope)) == [first]


def test_the_schedule_of_a_catalog_is_not_changed_by_an_operator(queue: JobQueue) -> None:
    queue.run(schedules.sync_catalog_schedules("shop", [request()], now=NOON))

    with pytest.raises(QueryError) as caught:
        upsert(queue, cron_expr=EVERY_MINUTE)

    assert caught.value.code == "job_schedule.owner_mismatch"
    assert "'shop'" in str(caught.value)


class TestList:
    def test_schedules_come_in_pages_in_the_order_of_their_names(self, queue: JobQueue) -> None:
        for name in ("c", "a", "d", "b"):
            upsert(queue, name)

        first = queue.run(schedules.list_schedules(scope=ADMIN, limit=3))
        second = queue.run(schedules.list_schedules(scope=ADMIN, limit=3, after_name=first[-1].name))

        assert [schedule.name for schedule in first + second] == ["a", "b", "c", "d"]

    @pytest.mark.parametrize(("text", "found"), [("NIGHT", ["nightly"]), ("_", ["sales_report"]), ("%", [])])
    def test_only_names_with_a_text_literally_in_them(self, queue: JobQueue, text: str, found: list[str]) -> None:
        for name in ("nightly", "sales_report"):
            upsert(queue, name)

        listed = queue.run(schedules.list_schedules(scope=ADMIN, name_contains=text))

        assert [schedule.name for schedule in listed] == found

    def test_only_those_of_a_job_type(self, queue: JobQueue) -> None:
        queue.define("report.build")
        upsert(queue, "mail")
        upsert(queue, "report", job_type="report.build")

        listed = queue.run(schedules.list_schedules(scope=ADMIN, job_type="report.build"))

        assert [schedule.name for schedule in listed] == ["report"]


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("max_jitter_seconds", "86401", "chk_job_schedules_jitter"),
        ("max_jitter_seconds", "-1", "chk_job_schedules_jitter"),
        ("catch_up_limit", "1001", "chk_job_schedules_catch_up_limit"),
        ("next_fire_at", "'-infinity'", "chk_job_schedules_next_fire_in_range"),
        ("next_fire_at", "'infinity'", "chk_job_schedules_next_fire_in_range"),
        ("absent_since", "now()", "chk_job_schedules_absent"),
    ],
)
def test_the_table_refuses_by_hand_what_no_scheduler_could_read(
    queue: JobQueue, column: str, value: str, constraint: str
) -> None:
    upsert(queue)

    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        queue.sql(f"UPDATE job_schedules SET {column} = {value}")

    assert caught.value.diag.constraint_name == constraint
