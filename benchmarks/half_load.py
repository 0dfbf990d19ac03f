"""From commit to handler start, with a worker that is half busy."""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks.server import fresh_database
from benchmarks.throughput import enqueue_and_drain
from benchmarks.workload import Countdown, no_op_registry
from runledger import Database, JobContext, JobDefinition, JobsConfig, Ledger
from runledger.core import JsonValue
from runledger.embedded import EmbeddedServer
from runledger.runtime import Worker

_PROBE_TYPE = "benchmark.probe"
_LONGEST_PAUSE_SECONDS = 0.04
_WARM_UP_CALLS = 100
_STOP_SECONDS = 30


def measure_half_load(server: EmbeddedServer, capacity_jobs: int, seconds: float) -> dict[str, float]:
    """Measure what the default configuration drains per second, send half of it, and time single jobs in between.

    The load comes from a process of its own, in batches every 20 ms. The timed jobs are enqueued one at a time, at
    random moments, by the process that runs the worker, so that one clock is read.
    """
    with fresh_database(server) as url:
        _, capacity_seconds = enqueue_and_drain(url, capacity_jobs, config=JobsConfig())
        load = capacity_jobs / capacity_seconds / 2
        milliseconds = sorted(asyncio.run(_sample(url, seconds, jobs_per_s=load)))
    return {
        "half_load_jobs_per_s": load,
        "half_load_latency_p50_ms": statistics.median(milliseconds),
        "half_load_latency_p99_ms": milliseconds[min(len(milliseconds) - 1, int(len(milliseconds) * 0.99))],
    }


async def _sample(url: str, seconds: float, *, jobs_per_s: float) -> list[float]:
    countdown = Countdown(_WARM_UP_CALLS)
    registry = no_op_registry(countdown)
    started: asyncio.Queue[float] = asyncio.Queue()

    @registry.job(_PROBE_TYPE)
    async def note_start(context: JobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        started.put_nowait(time.perf_counter())

    worker = Worker(Database(url), registry, JobsConfig())
    latencies: list[float] = []
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type=_PROBE_TYPE)])
        await worker.start()
        try:
            with _load(url, jobs_per_s):
                await countdown.until_reached()
                # So long, not so many: where the machine has less to give than before, jobs queue up.
                ends_at = time.perf_counter() + seconds
                while not latencies or time.perf_counter() < ends_at:
                    await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 (no secret)
                    await ledger.enqueue(_PROBE_TYPE)
                    committed_at = time.perf_counter()
                    latencies.append((await started.get() - committed_at) * 1000)
        finally:
            await worker.stop()
    return latencies


@contextmanager
def _load(url: str, jobs_per_s: float) -> Generator[None, None, None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load_program", url, str(jobs_per_s)], stdin=subprocess.PIPE
    )
    with process:
        try:
            yield
            assert process.stdin is not None  # noqa: S101 (it is a pipe)
            process.stdin.close()
            if process.wait(_STOP_SECONDS) != 0:
                raise RuntimeError(f"the producer ended with {process.returncode}")
        finally:
            process.kill()
