"""The pieces that several measurements share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from runledger import Database, EnqueueRequest, JobContext, JobDefinition, JobRegistry, JobsConfig, SyncLedger
from runledger.core import JsonValue
from runledger.runtime import Worker

JOB_TYPE = "benchmark.no_op"

SLOTS = 1_000

CLAIM_BATCH_SIZE = 500

PAYLOAD: dict[str, JsonValue] = {"customer": "0123456789abcdef", "amount": 4200, "note": "x" * 40}
"""About 100 bytes of JSON."""


def prepare(ledger: SyncLedger) -> None:
    """Migrate and define the job type."""
    ledger.migrate()
    ledger.ensure_job_definitions([JobDefinition(job_type=JOB_TYPE)])


def requests(count: int) -> Iterator[EnqueueRequest]:
    """Make the requests of so many jobs."""
    for _ in range(count):
        yield EnqueueRequest(JOB_TYPE, PAYLOAD)


async def drain(database: Database, count: int) -> float:
    """Run so many waiting jobs in one worker and return the seconds from its first claim to the last completion."""
    registry = JobRegistry()
    finished = asyncio.Event()
    executed_count = 0

    @registry.job(JOB_TYPE)
    async def no_op(context: JobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        nonlocal executed_count
        executed_count += 1
        if executed_count == count:
            finished.set()

    worker = Worker(database, registry, JobsConfig(max_global_concurrency=SLOTS, claim_batch_size=CLAIM_BATCH_SIZE))
    started_at = time.perf_counter()
    await worker.start()
    await finished.wait()
    await worker.finish_running()
    seconds = time.perf_counter() - started_at
    await worker.stop()
    return seconds
