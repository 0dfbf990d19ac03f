"""Jobs to do during an outage."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from psycopg.sql import SQL, Literal

from runledger import EnqueueRequest, JobDefinition, Ledger
from tests.observer import Observer

KINDS = ("plain", "exact", "threaded")
"""How handlers write their effect; see the program."""


async def enqueue(url: str, count: int, *, kinds: tuple[str, ...] = KINDS) -> None:
    """Enqueue so many jobs, of all kinds in turn."""
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type=kind, max_attempts=50) for kind in kinds])
        await ledger.enqueue_many(EnqueueRequest(kinds[number % len(kinds)], number) for number in range(count))


@contextlib.asynccontextmanager
async def observing(url: str) -> AsyncGenerator[Observer]:
    """A connection beside the workers, for as long as the server is up."""
    observer = await Observer.connect(url)
    try:
        yield observer
    finally:
        await observer.close()


async def until_succeeded(url: str, *, more_than: int) -> None:
    """Wait until more than so many jobs have succeeded."""
    condition = SQL("(SELECT count(*) > {} FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    async with observing(url) as observer:
        await observer.until(condition.format(Literal(more_than)))


async def until_done(url: str) -> None:
    """Wait until all jobs have succeeded."""
    async with observing(url) as observer:
        await observer.until("(SELECT bool_and(status = 'SUCCEEDED') FROM runledger.job_queue)")


async def until_held(url: str, *, count: int) -> None:
    """Wait until workers hold so many jobs."""
    condition = SQL("(SELECT count(*) = {} FROM runledger.job_queue WHERE status = 'LEASED')")
    async with observing(url) as observer:
        await observer.until(condition.format(Literal(count)))
