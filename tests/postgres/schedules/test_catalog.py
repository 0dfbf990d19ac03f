"""Schedules that the code of an application declares."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from runledger.core import InvalidArgumentError, ScheduleOwner
from runledger.postgres import QueryError, schedules
from runledger.postgres.schedules import AbsentSchedules, CatalogSync
from tests.postgres.job_queue import JobQueue
from tests.postgres.schedules.steps import (
    ADMIN,
    AT_THREE,
    DAY,
    EVERY_MINUTE,
    HOUR,
    MINUTE,
    NAME,
    NOON,
    fire,
    get,
    request,
    upsert,
)

NOTHING = CatalogSync(inserted=(), updated=(), paused=(), deleted=())


def sync(
    queue: JobQueue,
    *names: str,
    catalog_scope: str = "shop",
    absent: AbsentSchedules = AbsentSchedules.KEEP,
    applies_is_active: bool = False,
    now: datetime = NOON,
    **fields: Any,
) -> CatalogSync:
    requests = [request(name, **fields) for name in names]
    return queue.run(
        schedules.sync_catalog_schedules(
            catalog_scope,
            requests,
            absent=absent,
            applies_is_active=applies_is_active,
            now=now,
        )
    )


def test_a_catalog_makes_and_changes_its_schedules(queue: JobQueue) -> None:
    made = sync(queue, "b", "a")
    again = sync(queue, "a", "b", now=NOON + MINUTE)
    changed = sync(queue, "a", cron_expr=AT_THREE)

    assert made.inserted == ("a", "b")
    assert again == NOTHING
    assert (changed.inserted, changed.updated) == ((), ("a",))
    schedule = get(queue, "a")
    assert (schedule.owner, schedule.catalog_scope) == (ScheduleOwner.CATALOG, "shop")
    assert schedule.next_fire_at == NOON + 15 * HOUR


def test_what_an_operator_has_paused_stays_paused(queue: JobQueue) -> None:
    sync(queue, NAME)
    queue.run(schedules.pause_schedule(NAME, scope=ADMIN))

    sync(queue, NAME, cron_expr=AT_THREE)

    assert (get(queue).is_active, get(queue).cron_expr) == (False, AT_THREE)


def test_unless_the_catalog_says_what_is_active(queue: JobQueue) -> None:
    sync(queue, "paused", "active")
    queue.run(schedules.pause_schedule("paused", scope=ADMIN))

    sync(queue, "paused", applies_is_active=True, now=NOON + DAY)
    sync(queue, "active", applies_is_active=True, is_active=False)

    # What passed during the pause does not fire.
    assert (get(queue, "paused").is_active, get(queue, "paused").next_fire_at) == (True, NOON + DAY + HOUR)
    assert not get(queue, "active").is_active


def test_those_that_are_not_declared_any_more_are_kept_by_default(queue: JobQueue) -> None:
    sync(queue, "old")

    assert sync(queue, "new") == CatalogSync(inserted=("new",), updated=(), paused=(), deleted=())
    assert get(queue, "old").is_active


def test_they_are_deleted_if_asked(queue: JobQueue) -> None:
    sync(queue, "old", "older", "new")
    upsert(queue, "operator's")
    sync(queue, "another catalog's", catalog_scope="crm")

    result = sync(queue, "new", absent=AbsentSchedules.DELETE)

    assert result.deleted == ("old", "older")
    names = [schedule.name for schedule in queue.run(schedules.list_schedules(scope=ADMIN))]
    assert names == ["another catalog's", "new", "operator's"]


def test_an_empty_catalog_has_no_schedules(queue: JobQueue) -> None:
    sync(queue, "old")

    assert sync(queue, absent=AbsentSchedules.DELETE).deleted == ("old",)


def test_one_that_was_paused_for_its_absence_starts_again_when_it_is_back(queue: JobQueue) -> None:
    """As when a deployment is taken back."""
    sync(queue, NAME)

    away = sync(queue, absent=AbsentSchedules.PAUSE)
    paused = get(queue)
    back = sync(queue, NAME, now=NOON + DAY)

    assert (away.paused, back.updated) == ((NAME,), (NAME,))
    assert (paused.is_active, paused.absent_since is not None) == (False, True)
    assert (get(queue).is_active, get(queue).absent_since) == (True, None)
    assert get(queue).next_fire_at == NOON + DAY + HOUR


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "meanwhile"])
def test_one_that_an_operator_paused_does_not(
    queue: JobQueue,
    is_before: bool,  # noqa: FBT001 - parametrized
) -> None:
    sync(queue, NAME)
    if is_before:
        queue.run(schedules.pause_schedule(NAME, scope=ADMIN))
    away = sync(queue, absent=AbsentSchedules.PAUSE)
    if not is_before:
        queue.run(schedules.pause_schedule(NAME, scope=ADMIN))

    sync(queue, NAME)

    assert away.paused == (() if is_before else (NAME,))
    assert not get(queue).is_active


def test_one_that_is_absent_can_be_activated_by_an_operator_until_the_next_sync(queue: JobQueue) -> None:
    sync(queue, NAME)
    sync(queue, absent=AbsentSchedules.PAUSE)

    activated = queue.run(schedules.activate_schedule(NAME, scope=ADMIN, now=NOON))

    assert activated is not None
    assert (activated.is_active, activated.absent_since) == (True, None)
    assert sync(queue, absent=AbsentSchedules.PAUSE).paused == (NAME,)


def test_a_sync_goes_on_where_a_schedule_is(queue: JobQueue) -> None:
    sync(queue, NAME)
    (fired,) = fire(queue, NOON + HOUR).fired

    sync(queue, NAME, payload_template={"version": 2}, now=NOON + HOUR + MINUTE)

    schedule = get(queue)
    assert (schedule.next_fire_at, schedule.last_fired_at) == (NOON + 2 * HOUR, NOON + HOUR)
    assert schedule.last_job_id == fired.job_ids[0]


def test_a_catalog_takes_nothing_from_operators_and_from_other_catalogs(queue: JobQueue) -> None:
    upsert(queue, "operator's")
    sync(queue, "crm's", catalog_scope="crm")

    for name, owner in (("operator's", "an operator"), ("crm's", "'crm'")):
        with pytest.raises(QueryError) as caught:
            sync(queue, "first", name)
        assert caught.value.code == "job_schedule.owner_mismatch"
        assert owner in str(caught.value)
    assert [schedule.name for schedule in queue.run(schedules.list_schedules(scope=ADMIN))] == ["crm's", "operator's"]


def test_a_missing_definition_undoes_everything(queue: JobQueue) -> None:
    requests = [request("a"), request("b", job_type="nowhere")]

    with pytest.raises(QueryError) as caught:
        queue.run(schedules.sync_catalog_schedules("shop", requests))

    assert caught.value.code == "job_schedule.definition_not_found_or_disabled"
    assert queue.run(schedules.list_schedules(scope=ADMIN)) == []


def test_more_schedules_than_a_document_holds(queue: JobQueue) -> None:
    names = [f"s{number:04}" for number in range(1_200)]

    assert len(sync(queue, *names, cron_expr=EVERY_MINUTE).inserted) == 1_200
    assert sync(queue, *names, cron_expr=EVERY_MINUTE, absent=AbsentSchedules.DELETE) == NOTHING
    assert len(sync(queue, *names, max_jitter=timedelta(seconds=5)).updated) == 1_200


@pytest.mark.parametrize("catalog_scope", ["", " shop", "a\0"])
def test_a_catalog_needs_a_name(queue: JobQueue, catalog_scope: str) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "catalog_scope"):
        sync(queue, catalog_scope=catalog_scope)


def test_a_name_that_comes_twice_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "requests"):
        sync(queue, "a", "a")
