"""Jobs whose handlers write a row of their own and finish in the same commit."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.throughput import enqueue_and_drain
from benchmarks.workload import JOB_TYPE, Countdown, enqueue, run_down
from runledger import Database, JobRegistry, JobsConfig
from runledger.core import JsonValue
from runledger.embedded import EmbeddedServer
from runledger.runtime import AsyncJobContext

POOL_SIZE = 16
"""Transactions at once. Commits that meet share a write to the disk."""

_CREATE_EFFECT = "CREATE TABLE effect (job_id uuid PRIMARY KEY, amount integer NOT NULL)"
_INSERT_EFFECT = "INSERT INTO effect VALUES (%s, 4200)"


def measure_handler_transactions(server: EmbeddedServer, count: int, *, plain_count: int) -> dict[str, float]:
    """Drain plain jobs, then others that insert one row in ``context.transaction()``."""
    with fresh_database(server) as url:
        _, plain_seconds = enqueue_and_drain(url, plain_count)
    with fresh_database(server) as url:
        enqueue(url, count)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_CREATE_EFFECT)
        seconds = asyncio.run(_run_with_transactions(url, count))
        check_ledger(url, succeeded=count)
    rate = count / seconds
    return {"transaction_jobs_per_s": rate, "transaction_ratio": rate * plain_seconds / plain_count}


async def _run_with_transactions(url: str, count: int) -> float:
    registry = JobRegistry()
    countdown = Countdown(count)

    @registry.job(JOB_TYPE)
    async def insert(context: AsyncJobContext, payload: JsonValue) -> None:  # noqa: ARG001 (a handler's signature)
        async with context.transaction() as connection:
            await connection.execute(_INSERT_EFFECT, [context.job_id])
        countdown.count()

    # Twice the connections: while one half writes, the other is claimed.
    config = JobsConfig(max_global_concurrency=2 * POOL_SIZE, claim_batch_size=POOL_SIZE)
    pool: AsyncConnectionPool[Any]
    async with AsyncConnectionPool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, open=False) as pool:
        await pool.wait()
        return await run_down(countdown, Database(url), registry, config=config, pool=pool)
