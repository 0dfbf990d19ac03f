"""Job types and schedules that the code of an application declares together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from runledger.core import (
    CatalogDeclaration,
    CatalogSyncMode,
    EnqueueRequest,
    InvalidArgumentError,
    JobDefinition,
    ScheduleOwner,
    ScheduleRequest,
)
from runledger.postgres import QueryError, admin, catalogs, jobs, run_sync, schedules
from runledger.postgres.catalogs import CatalogSyncResult
from runledger.postgres.schedules import CatalogSync
from tests.postgres.job_queue import JobQueue
from tests.postgres.schedules.steps import ADMIN, DAY, HOUR, NOON, get, request, upsert

EXACT = CatalogSyncMode.EXACT


def declaration(
    *job_types: str, scope: str = "shop", schedules: Sequence[ScheduleRequest] = (), **settings: Any
) -> CatalogDeclaration:
    return CatalogDeclaration(
        scope=scope,
        definitions=tuple(JobDefinition(job_type=job_type, **settings) for job_type in job_types),
        schedules=tuple(schedules),
    )


def sync(queue: JobQueue, declared: CatalogDeclaration, **options: Any) -> CatalogSyncResult:
    return queue.run(catalogs.sync_catalog(declared, now=options.pop("now", NOON), **options))


def result(**fields: Any) -> CatalogSyncResult:
    nothing: dict[str, Any] = {"inserted": (), "updated": (), "disabled": (), "enabled": (), "schedules": scheduled()}
    return CatalogSyncResult(**nothing | fields)


def scheduled(**fields: Any) -> CatalogSync:
    return CatalogSync(**dict.fromkeys(("inserted", "updated", "paused", "deleted"), ()) | fields)


def definition(queue: JobQueue, job_type: str) -> JobDefinition:
    found = queue.run(jobs.get_job_definition(job_type))
    assert found is not None
    return found


def owners(queue: JobQueue) -> dict[str, str | None]:
    return dict(queue.sql("SELECT job_type, catalog_scope FROM job_definitions"))


def refused(code: str) -> Any:
    return pytest.raises(QueryError, check=lambda error: error.code == code)


def test_a_catalog_inserts_and_changes_its_types_and_schedules(queue: JobQueue) -> None:
    first = sync(queue, declaration("b", "a", schedules=[request("nightly", job_type="a")]))
    again = sync(queue, declaration("a", "b", schedules=[request("nightly", job_type="a")]))
    changed = sync(queue, declaration("b", max_attempts=3))

    assert first == result(inserted=("a", "b"), schedules=scheduled(inserted=("nightly",)))
    assert first.has_changes
    assert again == result()
    assert not again.has_changes
    assert changed == result(updated=("b",))
    assert definition(queue, "b").max_attempts == 3
    assert owners(queue) == {"a": "shop", "b": "shop", "email.send": None}
    assert (get(queue, "nightly").owner, get(queue, "nightly").catalog_scope) == (ScheduleOwner.CATALOG, "shop")


def test_what_is_as_declared_is_not_written(queue: JobQueue) -> None:
    sync(queue, declaration("a"))
    before = queue.sql("SELECT xmin::text, ctid::text FROM job_definitions WHERE job_type = 'a'")

    sync(queue, declaration("a"), mode=EXACT)

    assert queue.sql("SELECT xmin::text, ctid::text FROM job_definitions WHERE job_type = 'a'") == before


def test_jobs_that_there_are_keep_what_they_copied(queue: JobQueue) -> None:
    sync(queue, declaration("a", max_attempts=3))
    job_id = queue.enqueue("a")

    sync(queue, declaration("a", max_attempts=5))

    assert queue.job(job_id).max_attempts == 3


def test_a_definition_without_owner_becomes_the_catalogs(queue: JobQueue) -> None:
    stored = definition(queue, "email.send")
    declared = CatalogDeclaration(scope="shop", definitions=(stored,))

    assert sync(queue, declared) == result(updated=("email.send",))
    assert owners(queue) == {"email.send": "shop"}
    assert definition(queue, "email.send") == dataclasses.replace(stored, catalog_scope="shop")


def test_what_an_operator_has_disabled_stays_disabled_and_changes_all_the_same(queue: JobQueue) -> None:
    sync(queue, declaration("a"))
    queue.run(jobs.update_job_definition("a", is_enabled=False))

    assert sync(queue, declaration("a", max_attempts=3), mode=EXACT) == result(updated=("a",))
    assert (definition(queue, "a").is_enabled, definition(queue, "a").max_attempts) == (False, 3)


def test_unless_the_catalog_says_what_is_enabled(queue: JobQueue) -> None:
    nightly = request("nightly", job_type="a")
    sync(queue, declaration("a", schedules=[nightly]))
    queue.run(schedules.pause_schedule("nightly", scope=ADMIN))
    queue.run(jobs.update_job_definition("a", is_enabled=False))

    enabled = sync(queue, declaration("a", schedules=[nightly]), keeps_enabled=False, now=NOON + DAY)
    queue.run(schedules.delete_schedule("nightly", scope=ADMIN))
    disabled = sync(queue, declaration("a", is_enabled=False), keeps_enabled=False)

    assert enabled == result(enabled=("a",), schedules=scheduled(updated=("nightly",)))
    assert disabled == result(disabled=("a",))


def test_a_pause_of_a_type_is_never_changed(queue: JobQueue) -> None:
    sync(queue, declaration("a", "b"))
    queue.run(admin.pause_job_type("a"))
    paused_at = definition(queue, "a").paused_at

    assert sync(queue, declaration("a", "b"), mode=EXACT, keeps_enabled=False) == result()
    assert sync(queue, declaration("a", "b", max_attempts=3), keeps_enabled=False) == result(updated=("a", "b"))
    sync(queue, declaration("b", max_attempts=3), mode=EXACT)
    assert definition(queue, "a").paused_at == paused_at is not None


def test_types_that_are_not_declared_any_more_are_kept_by_default(queue: JobQueue) -> None:
    sync(queue, declaration("old"))

    assert sync(queue, declaration("new")) == result(inserted=("new",))
    assert definition(queue, "old").is_enabled


def test_an_exact_sync_disables_them_and_pauses_their_schedules(queue: JobQueue) -> None:
    sync(queue, declaration("old", "new", schedules=[request("nightly", job_type="old")]))
    sync(queue, declaration("crm's", scope="crm"))

    exact = sync(queue, declaration("new"), mode=EXACT)

    assert exact == result(disabled=("old",), schedules=scheduled(paused=("nightly",)))
    assert sync(queue, declaration("new"), mode=EXACT) == result()
    enabled = {one.job_type: one.is_enabled for one in queue.run(jobs.list_job_definitions())}
    assert enabled == {"crm's": True, "email.send": True, "new": True, "old": False}
    with refused("job.definition_not_found_or_disabled"):
        queue.run(jobs.enqueue_job(EnqueueRequest("old", None)))


def test_what_is_declared_again_goes_on(queue: JobQueue) -> None:
    both = declaration("old", "new", schedules=[request("nightly", job_type="old")])
    sync(queue, both)
    sync(queue, declaration("new"), mode=EXACT)

    back = sync(queue, both, now=NOON + HOUR)

    assert back == result(enabled=("old",), schedules=scheduled(updated=("nightly",)))
    assert get(queue, "nightly").is_active


@pytest.mark.parametrize("is_set", [False, True], ids=["one", "set"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "meanwhile"])
def test_what_an_operator_has_disabled_stays_disabled_beyond_its_absence(
    queue: JobQueue,
    is_before: bool,  # noqa: FBT001 - parametrized
    is_set: bool,  # noqa: FBT001 - parametrized
) -> None:
    disable = (
        jobs.upsert_job_definitions([JobDefinition(job_type="old", is_enabled=False)])
        if is_set
        else jobs.update_job_definition("old", is_enabled=False)
    )
    sync(queue, declaration("old", "new"))
    if is_before:
        queue.run(disable)
    sync(queue, declaration("new"), mode=EXACT)
    if not is_before:
        queue.run(disable)

    sync(queue, declaration("old", "new"))
    assert not definition(queue, "old").is_enabled
    assert owners(queue)["old"] == "shop"


def test_other_changes_of_an_absent_type_do_not_keep_it_from_coming_back(queue: JobQueue) -> None:
    sync(queue, declaration("old", "new"))
    sync(queue, declaration("new"), mode=EXACT)
    queue.run(jobs.update_job_definition("old", max_attempts=2))

    assert sync(queue, declaration("old", "new")) == result(updated=("old",), enabled=("old",))


def test_a_type_that_schedules_of_others_need_is_not_disabled(queue: JobQueue) -> None:
    sync(queue, declaration("old", "new", schedules=[request("nightly", job_type="old")]))
    upsert(queue, "operator's", job_type="old")

    with refused("job_definition.active_schedule_exists"):
        sync(queue, declaration("new", "newer"), mode=EXACT)

    assert definition(queue, "old").is_enabled
    assert get(queue, "nightly").is_active
    assert queue.run(jobs.get_job_definition("newer")) is None


def test_a_catalog_takes_no_types_from_others(queue: JobQueue) -> None:
    sync(queue, declaration("crm's", scope="crm"))

    with refused("job_definition.owner_mismatch") as caught:
        sync(queue, declaration("a", "crm's"))

    assert str(caught.value).startswith("the job type \"crm's\" belongs to the catalog 'crm'; ")
    assert owners(queue) == {"crm's": "crm", "email.send": None}


def test_a_type_that_another_catalog_has_given_up_can_be_taken(queue: JobQueue) -> None:
    sync(queue, declaration("moved", "crm's", scope="crm"))
    sync(queue, declaration("crm's", scope="crm"), mode=EXACT)

    assert sync(queue, declaration("moved")) == result(updated=("moved",), enabled=("moved",))
    assert owners(queue)["moved"] == "shop"
    assert sync(queue, declaration("crm's", scope="crm"), mode=EXACT) == result()


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "meanwhile"])
def test_a_type_that_an_operator_has_disabled_is_given_up_too_and_stays_disabled(
    queue: JobQueue,
    is_before: bool,  # noqa: FBT001 - parametrized
) -> None:
    sync(queue, declaration("moved", "crm's", scope="crm"))
    if not is_before:
        sync(queue, declaration("crm's", scope="crm"), mode=EXACT)
    queue.run(jobs.update_job_definition("moved", is_enabled=False))

    given_up = sync(queue, declaration("crm's", scope="crm"), mode=EXACT)
    assert given_up == result(updated=("moved",))
    assert owners(queue)["moved"] is None
    assert sync(queue, declaration("crm's", scope="crm"), mode=EXACT) == result()

    assert sync(queue, declaration("moved")) == result(updated=("moved",))
    assert owners(queue)["moved"] == "shop"
    assert not definition(queue, "moved").is_enabled


def test_nothing_of_a_sync_that_is_refused_late_remains(queue: JobQueue) -> None:
    upsert(queue, "taken")

    with refused("job_schedule.owner_mismatch"):
        sync(queue, declaration("a", schedules=[request("taken", job_type="a")]))

    assert queue.run(jobs.get_job_definition("a")) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"job_types": ()}, "job_definition.empty_job_type_list"),
        ({"job_types": ("a",), "scope": " "}, "argument.invalid"),
        ({"job_types": ("a", "a")}, "argument.invalid"),
        ({"job_types": ("a",), "schedules": [request("n", job_type="a")] * 2}, "argument.invalid"),
        ({"job_types": ("a",), "schedules": [request("n", job_type="b")]}, "job_definition.not_declared"),
    ],
    ids=["empty", "blank scope", "type twice", "schedule twice", "schedule of another type"],
)
def test_what_no_catalog_can_be_is_refused_before_anything_is_sent(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        declaration(*fields.pop("job_types"), **fields)

    assert caught.value.code == code


def test_what_is_no_declaration_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError, match=r"catalog\.declaration"):
        sync(queue, "shop")  # pyright: ignore[reportArgumentType] - on purpose


def test_what_is_no_mode_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError, match="CatalogSyncMode"):
        sync(queue, declaration("a"), mode="exact")


def test_the_settings_of_an_absent_type_stay(queue: JobQueue) -> None:
    sync(queue, declaration("old", "new", default_timeout=timedelta(seconds=7)))

    sync(queue, declaration("new", default_timeout=timedelta(seconds=7)), mode=EXACT)

    assert definition(queue, "old").default_timeout == timedelta(seconds=7)


def test_a_scope_can_be_renamed_with_all_it_owns(queue: JobQueue) -> None:
    """As docs/how-to/declare-jobs-and-schedules.md says."""
    declared = declaration("a", schedules=[request("nightly", job_type="a")])
    sync(queue, declared)
    for table in ("job_definitions", "job_schedules"):
        queue.sql(f"UPDATE {table} SET catalog_scope = 'store' WHERE catalog_scope = 'shop'")

    assert sync(queue, dataclasses.replace(declared, scope="store"), mode=EXACT) == result()


def test_the_bound_of_the_callers_transaction_counts_and_stays(queue: JobQueue) -> None:
    sync(queue, declaration("a"))
    change = catalogs.sync_catalog(declaration("a", max_attempts=3), lock_timeout=timedelta(minutes=10))
    with psycopg.connect(queue.url) as other, psycopg.connect(queue.url) as connection:
        other.execute("SELECT FROM runledger.job_definitions FOR UPDATE")
        connection.execute("SET LOCAL lock_timeout = '20ms'")
        with refused("job_definition.lock_timeout"), connection.transaction():
            run_sync(connection, change)
        other.rollback()
        run_sync(connection, change)

        assert connection.execute("SHOW lock_timeout").fetchone() == ("20ms",)
