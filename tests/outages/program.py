"""A worker process as an application would have it, for tests that take its database away.

Run as ``python -m tests.outages.program``; its settings are a JSON object on standard input. Says on standard error
what it does, one log record per line, as JSON. SIGUSR1 opens the gate at which handlers of the type ``gated`` wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from datetime import timedelta
from typing import Any, TypeAlias

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from runledger import JobContext, JobFailure, JobRegistry, JobsConfig, Supervisor
from runledger.runtime import JsonLogFormatter
from runledger.runtime.job_context import AsyncJobContext, ThreadJobContext

# A plain INSERT: if a job is executed twice, two rows tell.
_EFFECT = "INSERT INTO effect (job_id, run_number, attempt, worker_id) VALUES (%s, %s, %s, %s)"

_SOON = timedelta(milliseconds=100)
# What an attempt may fail with when its database goes away in the middle of it.
_FAILURES = ("db.connection_failed", "db.transaction_commit_unconfirmed", "db.query_failed", "db.pool_timeout")


_Pool: TypeAlias = AsyncConnectionPool[Any]


def registry_for(pool: _Pool, gate: asyncio.Event) -> JobRegistry:
    registry = JobRegistry()
    _add_writers(registry, pool)
    _add_waiters(registry, pool, gate)
    for job_type in registry.registered_types():
        for code in _FAILURES:
            registry.register_retry_delay_override(job_type, code, _SOON)
    return registry


def _add_writers(registry: JobRegistry, pool: _Pool) -> None:
    """Add handlers that write their effect and end."""

    @registry.job("plain", max_attempts=50)
    async def plain(context: JobContext, payload: Any) -> Any:
        """Write the effect in a transaction of its own: at least once."""
        await _write_effect(pool, context)
        return payload

    @registry.job("exact", max_attempts=50)
    async def exact(context: AsyncJobContext, payload: Any) -> None:
        """Write the effect in the transaction that finishes the job: exactly once."""
        assert payload is not None
        try:
            async with context.transaction() as connection:
                await connection.execute(_EFFECT, _identity(context))
        except psycopg.errors.DiskFull:
            raise JobFailure.retryable("app.disk_full", "the effect could not be written", retry_in=_SOON) from None

    @registry.job("threaded", max_attempts=50)
    def threaded(context: ThreadJobContext, payload: Any) -> None:
        """The same from a thread."""
        assert payload is not None
        try:
            with context.transaction() as connection:
                connection.execute(_EFFECT, _identity(context))
        except psycopg.errors.DiskFull:
            raise JobFailure.retryable("app.disk_full", "the effect could not be written", retry_in=_SOON) from None


def _add_waiters(registry: JobRegistry, pool: _Pool, gate: asyncio.Event) -> None:
    """Add handlers that a fault finds at work."""

    @registry.job("slow", max_attempts=50)
    async def slow(context: JobContext, payload: int) -> int:
        """Take up to two seconds, so that faults find it at work."""
        await asyncio.sleep(payload % 20 / 10)  # noqa: TID251 (work takes time)
        await _write_effect(pool, context)
        return payload

    @registry.job("gated", max_attempts=50)
    async def gated(context: JobContext, payload: Any) -> Any:
        """Write the effect when the gate is open."""
        await gate.wait()
        await _write_effect(pool, context)
        return payload

    @registry.job("hog", max_attempts=50)
    async def hog(context: JobContext, payload: Any) -> Any:
        """Keep a connection of the application's pool until the gate is open."""
        async with pool.connection() as connection:
            logging.getLogger("program").info("program.hogging")
            await gate.wait()
            await connection.execute(_EFFECT, _identity(context))
        return payload


async def _write_effect(pool: _Pool, context: JobContext) -> None:
    try:
        async with pool.connection() as connection:
            await connection.execute(_EFFECT, _identity(context))
    except (psycopg.Error, PoolTimeout):
        raise JobFailure.retryable("app.effect_unconfirmed", "the effect may be there or not", retry_in=_SOON) from None


def _identity(context: JobContext) -> list[Any]:
    return [context.job_id, context.run_number, context.attempt, context.worker_id]


async def main() -> None:
    settings = json.loads(sys.stdin.readline())
    config: dict[str, Any] = settings["config"]
    for name, seconds in settings["durations"].items():
        config[name] = timedelta(seconds=seconds)
    gate = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, gate.set)
    async with AsyncConnectionPool(
        settings["application_url"],
        min_size=1,
        max_size=settings["pool_size"],
        timeout=settings["pool_timeout"],
        open=False,
    ) as pool:
        given = pool if settings["is_pool_given"] else None
        supervisor = Supervisor(settings["url"], registry_for(pool, gate), JobsConfig(**config), pool=given)
        await supervisor.run_until_shutdown()


if __name__ == "__main__":
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    asyncio.run(main())
