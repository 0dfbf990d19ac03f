"""Following the events of all jobs. Each test runs for both forms of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.client import Ledger, SyncLedger
from runledger.core import EnqueueRequest, InvalidArgumentError, TailedEvent
from runledger.testing import EphemeralDatabase
from tests.client.conftest import TYPE

SOON = timedelta(milliseconds=10)


@pytest.fixture(params=["asyncio", "blocking"])
async def tail(request: pytest.FixtureRequest, runledger_database: EphemeralDatabase) -> AsyncGenerator[Any]:
    """Makes an iterator of events whose next one is awaited, of either ledger."""
    asyncio_ledger = await Ledger.connect(runledger_database.url)
    blocking_ledger = SyncLedger.connect(runledger_database.url)

    async def events(**settings: Any) -> AsyncGenerator[TailedEvent]:
        if request.param == "asyncio":
            async for event in asyncio_ledger.tail_events(poll_interval=SOON, **settings):
                yield event
        else:
            iterator = blocking_ledger.tail_events(poll_interval=SOON, **settings)
            while True:
                yield await asyncio.to_thread(next, iterator)

    yield events
    await asyncio_ledger.close()
    blocking_ledger.close()


async def jobs_of(events: AsyncGenerator[TailedEvent], count: int) -> list[UUID]:
    async with asyncio.timeout(20):
        return [(await anext(events)).event.job_id for _ in range(count)]


async def test_events_come_as_they_happen_and_go_on_behind_a_cursor(ledger: Ledger, tail: Any) -> None:
    first = await ledger.enqueue(TYPE)
    events = tail()
    assert await jobs_of(events, 1) == [first]

    second = await ledger.enqueue(TYPE)
    event = await anext(events)
    await events.aclose()
    assert event.event.job_id == second

    third = await ledger.enqueue(TYPE)
    again = tail(cursor=event.cursor)
    assert await jobs_of(again, 1) == [third]
    await again.aclose()


async def test_who_follows_from_now_on_sees_nothing_older(ledger: Ledger, tail: Any) -> None:
    await ledger.enqueue(TYPE)
    events = tail(cursor=await ledger.find_newest_event_cursor())
    new = await ledger.enqueue(TYPE)

    assert await jobs_of(events, 1) == [new]
    await events.aclose()


async def test_more_events_than_a_page_holds_are_read_on_and_on(ledger: Ledger, tail: Any) -> None:
    ids = await ledger.enqueue_many(EnqueueRequest(TYPE, number) for number in range(1_500))
    events = tail()

    assert await jobs_of(events, 1_500) == ids
    await events.aclose()


async def test_an_interval_that_is_none_is_refused(runledger_database: EphemeralDatabase) -> None:
    async with await Ledger.connect(runledger_database.url) as ledger:
        with pytest.raises(InvalidArgumentError, match="poll_interval"):
            await anext(ledger.tail_events(poll_interval=timedelta()))
