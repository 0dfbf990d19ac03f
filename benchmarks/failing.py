"""Attempts that fail: retried at once, or dead-lettered."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.throughput import enqueue_and_drain
from benchmarks.workload import JOB_TYPE, Countdown, enqueue, run_down
from runledger import Database, JobContext, JobFailure, JobRegistry
from runledger.core import JsonValue
from runledger.embedded import EmbeddedServer


def measure_failing(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Drain plain jobs; then as many that fail once, and as many that fail for good.

    A job that fails once takes two attempts, so attempts are compared.
    """
    with fresh_database(server) as url:
        _, plain_seconds = enqueue_and_drain(url, count)
    plain_rate = count / plain_seconds
    with fresh_database(server) as url:
        enqueue(url, count)
        retry_rate = 2 * count / asyncio.run(_run_until_retried(url, count))
        check_ledger(url, succeeded=count, retried=count)
    with fresh_database(server) as url:
        enqueue(url, count)
        dead_letter_rate = count / asyncio.run(_run_until_dead_lettered(url, count))
        check_ledger(url, dead_lettered=count)
    return {
        "retry_attempts_per_s": retry_rate,
        "retry_ratio": retry_rate / plain_rate,
        "dead_letter_jobs_per_s": dead_letter_rate,
        "dead_letter_ratio": dead_letter_rate / plain_rate,
    }


async def _run_until_retried(url: str, count: int) -> float:
    registry = JobRegistry()
    countdown = Countdown(2 * count)

    @registry.job(JOB_TYPE)
    async def fail_once(context: JobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        countdown.count()
        if context.attempt == 1:
            raise JobFailure.retryable("benchmark.failed", "the first attempt fails", retry_in=timedelta())

    return await run_down(countdown, Database(url), registry)


async def _run_until_dead_lettered(url: str, count: int) -> float:
    registry = JobRegistry()
    countdown = Countdown(count)

    @registry.job(JOB_TYPE)
    async def fail(context: JobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        countdown.count()
        raise JobFailure.terminal("benchmark.failed", "every attempt fails")

    return await run_down(countdown, Database(url), registry)
