"""From commit to handler start, with a worker at rest."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from datetime import timedelta

from runledger import Database, JobContext, JobDefinition, JobRegistry, JobsConfig, Ledger
from runledger.core import JsonValue
from runledger.runtime import Worker

_JOB_TYPE = "benchmark.latency"

POLL_INTERVAL_MS = JobsConfig().poll_interval // timedelta(milliseconds=1)
"""The default: what is measured is the wake-up, and a lost one shows. Stated in the report."""

_LONGEST_PAUSE_SECONDS = 0.04


def measure_latency(url: str, samples: int) -> dict[str, float]:
    """Enqueue one job at a time, at random moments, and measure until its handler starts."""
    milliseconds = sorted(asyncio.run(_sample(url, samples)))
    return {
        "latency_p50_ms": statistics.median(milliseconds),
        "latency_p99_ms": milliseconds[min(len(milliseconds) - 1, int(len(milliseconds) * 0.99))],
    }


async def _sample(url: str, samples: int) -> list[float]:
    registry = JobRegistry()
    started: asyncio.Queue[float] = asyncio.Queue()

    @registry.job(_JOB_TYPE)
    async def note_start(context: JobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        started.put_nowait(time.perf_counter())

    worker = Worker(Database(url), registry, JobsConfig())
    latencies: list[float] = []
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type=_JOB_TYPE)])
        await worker.start()
        try:
            for _ in range(samples):
                await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 (no secret)
                await ledger.enqueue(_JOB_TYPE)
                committed_at = time.perf_counter()
                latencies.append((await started.get() - committed_at) * 1000)
        finally:
            await worker.stop()
    return latencies
