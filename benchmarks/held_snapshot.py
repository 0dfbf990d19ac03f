"""What an old snapshot costs: as long as one is open, nothing that was deleted or moved since can be cleaned up.

A report, a dump or a forgotten session holds it; here a REPEATABLE READ transaction does.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.throughput import enqueue_and_drain
from benchmarks.workload import JOB_TYPE, PAYLOAD, drain, enqueue, tuned_config
from runledger import Database, EnqueueRequest, Ledger
from runledger.embedded import EmbeddedServer
from runledger.runtime.claimer import Claimer

_CLAIM_LIMIT = 10
_ARRIVALS = 3
"""Jobs that arrive before each claim: fewer than it asks for, as in a queue that is not behind."""


def measure_held_snapshot_drain(server: EmbeddedServer, waiting: int) -> dict[str, float]:
    """Drain a backlog; then as large a one, in a fresh database, while a snapshot is held that is older than it."""
    with fresh_database(server) as url:
        _, free_seconds = enqueue_and_drain(url, waiting)
    with fresh_database(server) as url:
        enqueue(url, 0)
        with _held_snapshot(url):
            enqueue(url, waiting)
            held_seconds = asyncio.run(drain(Database(url), waiting))
        check_ledger(url, succeeded=waiting)
    return {
        "held_snapshot_drain_jobs_per_s": waiting / held_seconds,
        "held_snapshot_drain_ratio": free_seconds / held_seconds,
    }


def measure_held_snapshot_claim(server: EmbeddedServer, churned: int, claims: int) -> dict[str, float]:
    """Time small claims of a worker's claimer; then again after many jobs came and went under a held snapshot.

    Each claim asks for ten jobs and finds three, which arrived since the one before. Medians are compared.
    """
    with fresh_database(server) as url:
        enqueue(url, 0)
        free_ms = asyncio.run(_time_claims(url, claims))
        with _held_snapshot(url):
            enqueue(url, churned)
            asyncio.run(drain(Database(url), churned))
            held_ms = asyncio.run(_time_claims(url, claims))
    return {
        "free_claim_ms": free_ms,
        "held_snapshot_claim_ms": held_ms,
        "held_snapshot_claim_ratio": held_ms / free_ms,
    }


async def _time_claims(url: str, claims: int) -> float:
    """Return the median of the milliseconds that one claim takes."""
    claimer = Claimer(Database(url), tuned_config())
    milliseconds: list[float] = []
    async with await Ledger.connect(url) as ledger:
        try:
            for _ in range(claims):
                await ledger.enqueue_many([EnqueueRequest(JOB_TYPE, PAYLOAD)] * _ARRIVALS)
                started_at = time.perf_counter()
                claim = await claimer.claim(_CLAIM_LIMIT, [JOB_TYPE])
                milliseconds.append((time.perf_counter() - started_at) * 1000)
                if len(claim.jobs) != _ARRIVALS:
                    raise RuntimeError(f"{_ARRIVALS} jobs arrived, the claim brought {len(claim.jobs)}")
        finally:
            await claimer.close()
    return statistics.median(milliseconds)


@contextmanager
def _held_snapshot(url: str) -> Generator[None, None, None]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM runledger.job_queue")  # the snapshot is taken by the first statement
        yield
        connection.execute("ROLLBACK")
