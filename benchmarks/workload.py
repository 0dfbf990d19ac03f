"""The pieces that several measurements share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from runledger import Database, EnqueueRequest, JobContext, JobDefinition, JobRegistry, JobsConfig, SyncLedger
from runledger.core import JsonValue
from runledger.runtime import Worker
from runledger.runtime.handler_pools import HandlerPool

JOB_TYPE = "benchmark.no_op"

SLOTS = 1_000

CLAIM_BATCH_SIZE = 500

PAYLOAD: dict[str, JsonValue] = {"customer": "0123456789abcdef", "amount": 4200, "note": "x" * 40}
"""About 100 bytes of JSON."""


class Countdown:
    """Counts the calls of handlers, and tells when there were as many as expected."""

    def __init__(self, expected_calls: int) -> None:
        self.calls = 0
        self._expected_calls = expected_calls
        self._reached = asyncio.Event()

    def count(self) -> None:
        """Note one call."""
        self.calls += 1
        if self.calls == self._expected_calls:
            self._reached.set()

    async def until_reached(self) -> None:
        """Wait for the last expected call."""
        await self._reached.wait()


def tuned_config() -> JobsConfig:
    """Return settings for many jobs that end at once."""
    return JobsConfig(max_global_concurrency=SLOTS, claim_batch_size=CLAIM_BATCH_SIZE)


def prepare(ledger: SyncLedger) -> None:
    """Migrate and define the job type."""
    ledger.migrate()
    ledger.ensure_job_definitions([JobDefinition(job_type=JOB_TYPE)])


def requests(count: int) -> Iterator[EnqueueRequest]:
    """Make the requests of so many jobs."""
    for _ in range(count):
        yield EnqueueRequest(JOB_TYPE, PAYLOAD)


def enqueue(url: str, count: int) -> None:
    """Prepare the database, and enqueue so many jobs."""
    with SyncLedger.connect(url) as ledger:
        prepare(ledger)
        ledger.enqueue_many(requests(count))


def no_op_registry(countdown: Countdown) -> JobRegistry:
    """Return a handler that does nothing but count."""
    registry = JobRegistry()

    @registry.job(JOB_TYPE)
    async def no_op(context: JobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        countdown.count()

    return registry


async def drain(database: Database, count: int, *, config: JobsConfig | None = None) -> float:
    """Run so many waiting jobs that do nothing; see :func:`run_down`."""
    countdown = Countdown(count)
    return await run_down(countdown, database, no_op_registry(countdown), config=config)


async def run_down(
    countdown: Countdown,
    database: Database,
    registry: JobRegistry,
    *,
    config: JobsConfig | None = None,
    pool: HandlerPool | None = None,
) -> float:
    """Run one worker until all expected calls have ended, and return the seconds from first claim to last outcome.

    Args:
        countdown: Counts the calls.
        database: Where the jobs wait.
        registry: Handlers, which count.
        config: Settings; the tuned ones when not given.
        pool: For the transactions of handlers.
    """
    worker = Worker(database, registry, config or tuned_config(), pool=pool)
    started_at = time.perf_counter()
    await worker.start()
    try:
        await countdown.until_reached()
        await worker.finish_running()
        return time.perf_counter() - started_at
    finally:
        await worker.stop()
