"""An operator changes some settings of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import (
    BlankJobTypeError,
    CatchUp,
    Global,
    InvalidArgumentError,
    InvalidCronError,
    Organization,
    Overlap,
    ScheduleChanges,
    ScheduleRecord,
    Scope,
    UndecodableJsonError,
)
from runledger.postgres import QueryError, schedules
from tests.postgres.job_queue import JobQueue
from tests.postgres.schedules.steps import (
    ADMIN,
    AT_THREE,
    EVERY_MINUTE,
    HOUR,
    MINUTE,
    NAME,
    NOON,
    fire,
    get,
    jobs_of,
    request,
    upsert,
)

OURS, THEIRS = (UUID(f"0198c0de-0000-7000-8000-0000000000{digits}") for digits in ("aa", "bb"))
EXACT_NUMBERS = '{"price": 1.10, "amount": 12345678901234567890.123456789}'
TOO_LONG = "9" * 5_000


def update(
    queue: JobQueue, name: str = NAME, *, scope: Scope = ADMIN, now: datetime = NOON, **changes: Any
) -> ScheduleRecord | None:
    return queue.run(schedules.update_schedule(name, ScheduleChanges(**changes), scope=scope, now=now))


CHANGES: dict[str, Any] = {
    "job_type": "report.build",
    "payload_template": {"version": 2},
    "max_jitter": timedelta(seconds=5),
    "catch_up": CatchUp.ALL,
    "catch_up_limit": 7,
    "overlap": Overlap.SKIP,
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_setting_changes_and_the_others_stay(queue: JobQueue, name: str) -> None:
    queue.define("report.build")
    before = upsert(queue, payload_template={"version": 1}, organization_id=OURS)

    changed = update(queue, **{name: CHANGES[name]})

    assert changed == get(queue)
    for setting in (*CHANGES, "cron_expr", "timezone", "organization_id", "next_fire_at", "is_active"):
        expected = CHANGES[name] if setting == name else getattr(before, setting)
        assert getattr(changed, setting) == expected


@pytest.mark.parametrize(
    ("changes", "next_fire_at"),
    [
        ({"cron_expr": AT_THREE}, datetime(2026, 5, 27, 3, tzinfo=UTC)),
        ({"timezone": "Asia/Kolkata"}, datetime(2026, 5, 26, 12, 30, tzinfo=UTC)),
        ({"cron_expr": "0 * * * *", "timezone": "UTC"}, NOON - MINUTE),
        ({"max_jitter": timedelta(seconds=5)}, NOON - MINUTE),
    ],
    ids=["cron", "timezone", "the same times", "jitter"],
)
def test_only_new_times_change_when_it_is_due(queue: JobQueue, changes: dict[str, Any], next_fire_at: datetime) -> None:
    upsert(queue)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON - MINUTE, scope=ADMIN))

    changed = update(queue, **changes)

    assert changed is not None
    assert changed.next_fire_at == next_fire_at


def test_new_times_end_what_was_deferred_and_others_do_not(queue: JobQueue) -> None:
    upsert(queue)
    queue.sql("UPDATE job_schedules SET deferred_due_at = %s", NOON)

    kept = update(queue, overlap=Overlap.SKIP)
    ended = update(queue, cron_expr=EVERY_MINUTE)

    assert kept is not None
    assert ended is not None
    assert (kept.deferred_due_at, ended.deferred_due_at) == (NOON, None)


def test_new_times_are_none_that_somebody_set_by_hand(queue: JobQueue) -> None:
    upsert(queue)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON + MINUTE, scope=ADMIN))

    update(queue, overlap=Overlap.SKIP)
    assert queue.sql("SELECT next_fire_set_at IS NOT NULL FROM job_schedules") == [(True,)]
    update(queue, cron_expr=EVERY_MINUTE)
    assert queue.sql("SELECT next_fire_set_at IS NOT NULL FROM job_schedules") == [(False,)]


def test_a_name_that_cannot_be_stored_is_refused_before_anything_is_sent(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError, match="name: contains a NUL"):
        update(queue, "a\0b", overlap=Overlap.SKIP)


def test_a_payload_can_become_null(queue: JobQueue) -> None:
    upsert(queue, payload_template={"version": 1})
    update(queue, payload_template=None)

    assert queue.sql("SELECT payload_template::text FROM job_schedules") == [("null",)]


def test_a_template_stays_what_it_is_to_the_last_digit(queue: JobQueue) -> None:
    upsert(queue)
    queue.sql("UPDATE job_schedules SET payload_template = %s::jsonb", EXACT_NUMBERS)

    changed = update(queue, max_jitter=timedelta(seconds=5))

    assert changed is not None
    assert queue.sql("SELECT payload_template = %s::jsonb FROM job_schedules", EXACT_NUMBERS) == [(True,)]
    assert "12345678901234567890.123456789" in changed.payload_template_json
    assert "1.10" in changed.payload_template_json


def test_a_paused_schedule_stays_paused_and_may_be_of_a_disabled_type(queue: JobQueue) -> None:
    queue.define("report.build", is_enabled=False)
    upsert(queue, is_active=False)

    changed = update(queue, job_type="report.build")

    assert changed is not None
    assert (changed.job_type, changed.is_active) == ("report.build", False)


@pytest.mark.parametrize("definition", ["disabled", "missing"])
def test_an_active_schedule_needs_an_enabled_definition(queue: JobQueue, definition: str) -> None:
    if definition == "disabled":
        queue.define("report.build", is_enabled=False)
    before = upsert(queue)

    with pytest.raises(QueryError) as caught:
        update(queue, job_type="report.build")

    assert caught.value.code == "job_schedule.definition_not_found_or_disabled"
    assert get(queue) == before


@pytest.mark.parametrize("scope", [Global(), Organization(THEIRS)], ids=["global", "other organization"])
def test_a_schedule_outside_the_scope_is_as_if_it_did_not_exist(queue: JobQueue, scope: Scope) -> None:
    before = upsert(queue, organization_id=OURS)

    assert update(queue, scope=scope, overlap=Overlap.SKIP) is None
    assert update(queue, "another", overlap=Overlap.SKIP) is None
    assert get(queue) == before


def test_a_schedule_of_a_catalog_is_changed_there(queue: JobQueue) -> None:
    queue.run(schedules.sync_catalog_schedules("shop", [request()], now=NOON))

    with pytest.raises(QueryError, check=lambda error: error.code == "job_schedule.owner_mismatch"):
        update(queue, overlap=Overlap.SKIP)


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"cron_expr": "* * *"}, InvalidCronError, "cron_expr"),
        ({"job_type": " "}, BlankJobTypeError, "job_type"),
        ({"timezone": ""}, InvalidArgumentError, "timezone"),
        ({"max_jitter": timedelta(days=2)}, InvalidArgumentError, "max_jitter"),
        ({"catch_up": "all"}, InvalidArgumentError, "catch_up"),
        ({"catch_up_limit": 0}, InvalidArgumentError, "catch_up_limit"),
        ({"overlap": "skip"}, InvalidArgumentError, "overlap"),
    ],
)
def test_a_change_keeps_the_rules_of_a_request(
    changes: dict[str, Any], error: type[InvalidArgumentError], field: str
) -> None:
    with pytest.raises(error) as caught:
        ScheduleChanges(**changes)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"cron_expr": "0 0 0 1 1 ? 2020"}, "cron_expr"),
        ({"payload_template": float("nan")}, "payload_template"),
    ],
)
def test_what_only_the_database_or_its_clock_can_tell_is_refused_too(
    queue: JobQueue, changes: dict[str, Any], field: str
) -> None:
    before = upsert(queue)

    with pytest.raises(InvalidArgumentError) as caught:
        update(queue, **changes)

    assert caught.value.field == field
    assert get(queue) == before


def test_what_is_no_change_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError, match="ScheduleChanges"):
        queue.run(schedules.update_schedule(NAME, {"overlap": "skip"}, scope=ADMIN))  # pyright: ignore[reportArgumentType] - on purpose


def test_the_payload_is_not_in_the_repr() -> None:
    assert "secret" not in repr(ScheduleChanges(payload_template={"token": "secret"}))


def test_a_schedule_whose_template_cannot_be_read_can_be_stopped_changed_and_mended(queue: JobQueue) -> None:
    upsert(queue)
    queue.sql("UPDATE job_schedules SET payload_template = %s::jsonb", TOO_LONG)

    paused = queue.run(schedules.pause_schedule(NAME, scope=ADMIN))
    (listed,) = queue.run(schedules.list_schedules(scope=ADMIN))
    changed = update(queue, overlap=Overlap.SKIP)
    activated = queue.run(schedules.activate_schedule(NAME, scope=ADMIN, now=NOON))
    with pytest.raises(UndecodableJsonError):
        _ = listed.payload_template

    mended = update(queue, payload_template={"version": 2})

    assert paused == listed
    assert not listed.is_active
    assert "999" not in repr(listed)
    assert changed is not None
    assert changed.overlap is Overlap.SKIP
    assert activated is not None
    assert activated.is_active
    assert mended is not None
    (job,) = jobs_of(queue, fire(queue, NOON + HOUR))
    assert isinstance(job.payload, dict)
    assert job.payload["version"] == 2
