"""Schedules through the ledger. Each test runs for both ledgers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from runledger.client import Ledger
from runledger.core import Admin, CatchUp, Global, Organization, Overlap
from runledger.postgres import QueryError
from tests.client.conftest import TYPE

NAME, NIGHTLY = "nightly", "30 2 * * *"
OURS = UUID("018fa1f8-0000-7000-8000-0000000000aa")
LATER = datetime(2096, 1, 1, tzinfo=UTC)


class OrderRejectedError(Exception):
    """The application changes its mind."""


async def test_a_schedule_lives(ledger: Ledger) -> None:
    """SCH-015, SCH-018."""
    made = await ledger.upsert_schedule(
        NAME,
        TYPE,
        NIGHTLY,
        payload_template={"report": "sales"},
        timezone="Europe/Berlin",
        max_jitter=timedelta(seconds=30),
        catch_up=CatchUp.ALL,
        catch_up_limit=3,
        overlap=Overlap.SKIP,
    )
    assert await ledger.get_schedule(NAME) == made
    assert await ledger.list_schedules(name_contains="NIGHT", job_type=TYPE) == [made]
    assert await ledger.list_schedules(after_name=NAME) == []

    paused = await ledger.pause_schedule(NAME)
    again = await ledger.upsert_schedule(NAME, TYPE, NIGHTLY, timezone="Europe/Berlin")
    activated = await ledger.activate_schedule(NAME)
    moved = await ledger.set_schedule_next_fire(NAME, LATER)

    assert paused is not None
    assert activated is not None
    assert moved is not None
    assert (paused.is_active, again.is_active, activated.is_active) == (False, False, True)
    assert (again.payload_template, again.overlap) == ({}, Overlap.ALLOW)
    assert moved.next_fire_at == LATER
    assert await ledger.delete_schedule(NAME) is True
    assert await ledger.delete_schedule(NAME) is False
    assert await ledger.get_schedule(NAME) is None


async def test_single_settings_are_changed(ledger: Ledger) -> None:
    made = await ledger.upsert_schedule(NAME, TYPE, NIGHTLY, payload_template={"report": "sales"}, catch_up_limit=3)

    changed = await ledger.update_schedule(NAME, catch_up=CatchUp.ALL, max_jitter=timedelta(seconds=5))
    emptied = await ledger.update_schedule(NAME, payload_template=None)

    assert changed is not None
    assert emptied is not None
    assert (changed.catch_up, changed.catch_up_limit, changed.max_jitter.seconds) == (CatchUp.ALL, 3, 5)
    assert (changed.payload_template, emptied.payload_template) == ({"report": "sales"}, None)
    assert (emptied.cron_expr, emptied.next_fire_at) == (NIGHTLY, made.next_fire_at)
    assert await ledger.update_schedule("another", catch_up=CatchUp.ALL) is None
    assert await ledger.update_schedule(NAME, overlap=Overlap.SKIP, scope=Organization(OURS)) is None


async def test_it_is_part_of_the_callers_transaction(ledger: Ledger) -> None:
    async def change_and_fail() -> None:
        async with ledger.transaction() as connection:
            await ledger.upsert_schedule(NAME, TYPE, NIGHTLY, connection=connection)
            await ledger.pause_schedule(NAME, connection=connection)
            seen = await ledger.get_schedule(NAME, connection=connection)
            assert seen is not None
            assert not seen.is_active
            raise OrderRejectedError

    with pytest.raises(OrderRejectedError):
        await change_and_fail()

    assert await ledger.list_schedules() == []


async def test_a_tenant_sees_and_changes_its_own_schedules(ledger: Ledger) -> None:
    ours = await ledger.upsert_schedule(NAME, TYPE, NIGHTLY, organization_id=OURS)

    assert await ledger.get_schedule(NAME) is None
    assert await ledger.pause_schedule(NAME) is None
    assert await ledger.get_schedule(NAME, scope=Organization(OURS)) == ours
    assert await ledger.list_schedules(scope=Admin()) == [ours]
    with pytest.raises(QueryError, check=lambda error: error.code == "job_schedule.name_taken"):
        await ledger.upsert_schedule(NAME, TYPE, NIGHTLY)


async def test_an_operator_may_change_that_of_any_tenant_which_keeps_it(ledger: Ledger) -> None:
    """SCH-016."""
    await ledger.upsert_schedule(NAME, TYPE, NIGHTLY, organization_id=OURS)

    changed = await ledger.upsert_schedule(NAME, TYPE, "0 4 * * *", scope=Admin())

    assert (changed.organization_id, changed.cron_expr) == (OURS, "0 4 * * *")


async def test_a_schedule_without_definition_is_refused_and_the_transaction_goes_on(ledger: Ledger) -> None:
    async with ledger.transaction() as connection:
        with pytest.raises(QueryError) as caught:
            await ledger.upsert_schedule(NAME, "nowhere", NIGHTLY, connection=connection)
        job_id = await ledger.enqueue(TYPE, connection=connection)

    assert caught.value.code == "job_schedule.definition_not_found_or_disabled"
    assert await ledger.get_job(job_id, scope=Global()) is not None


async def test_a_definition_in_use_is_not_disabled(ledger: Ledger) -> None:
    await ledger.upsert_schedule(NAME, TYPE, NIGHTLY)

    with pytest.raises(QueryError) as caught:
        await ledger.update_job_definition(TYPE, is_enabled=False)

    assert caught.value.code == "job_definition.active_schedule_exists"
