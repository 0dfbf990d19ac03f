"""Jobs per second: enqueue, drain, and the yardstick that keeps nothing."""

from __future__ import annotations

import asyncio
import json
import time

import psycopg

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.workload import PAYLOAD, drain, prepare, requests
from runledger import Database, JobsConfig, SyncLedger
from runledger.embedded import EmbeddedServer

_YARDSTICK_BATCH = 500

_CREATE_YARDSTICK = """
CREATE TABLE yardstick (
    id uuid PRIMARY KEY DEFAULT uuidv7(), status text NOT NULL DEFAULT 'pending', payload jsonb NOT NULL)
"""

_INDEX_YARDSTICK = "CREATE INDEX ON yardstick (id) WHERE status = 'pending'"

_FILL_YARDSTICK = "INSERT INTO yardstick (payload) SELECT %s FROM generate_series(1, %s)"

_CLAIM_YARDSTICK = """
UPDATE yardstick SET status = 'running' WHERE id = ANY (ARRAY(
    SELECT id FROM yardstick WHERE status = 'pending' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, payload::text
"""

_DELETE_YARDSTICK = "DELETE FROM yardstick WHERE id = ANY (%s)"


def measure_drain_beside_yardstick(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Drain the yardstick, then enqueue and drain so many jobs; full ledger, public API."""
    with fresh_database(server) as url:
        yardstick = count / asyncio.run(_drain_yardstick(url, count))
        enqueue_seconds, drain_seconds = enqueue_and_drain(url, count)
    return {
        "drain_jobs_per_s": count / drain_seconds,
        "yardstick_jobs_per_s": yardstick,
        "drain_ratio": count / drain_seconds / yardstick,
        "enqueue_many_per_s": count / enqueue_seconds,
    }


def measure_large_drain(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Drain a large backlog with one worker."""
    with fresh_database(server) as url:
        _, seconds = enqueue_and_drain(url, count)
    return {"large_drain_jobs_per_s": count / seconds}


def measure_default_configuration(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Drain with the tuned configuration, then with the default one."""
    with fresh_database(server) as url:
        _, tuned_seconds = enqueue_and_drain(url, count)
    with fresh_database(server) as url:
        _, seconds = enqueue_and_drain(url, count, config=JobsConfig())
    return {"default_drain_jobs_per_s": count / seconds, "default_ratio": tuned_seconds / seconds}


def enqueue_and_drain(url: str, count: int, *, config: JobsConfig | None = None) -> tuple[float, float]:
    """Enqueue so many jobs with ``enqueue_many``, run them in one worker, and return the seconds of each.

    Args:
        url: A database that has nothing of Runledger yet.
        count: How many jobs.
        config: Settings of the worker; the tuned ones when not given.
    """
    with SyncLedger.connect(url) as ledger:
        prepare(ledger)
        started_at = time.perf_counter()
        ledger.enqueue_many(requests(count))
        enqueue_seconds = time.perf_counter() - started_at
    drain_seconds = asyncio.run(drain(Database(url), count, config=config))
    check_ledger(url, succeeded=count)
    return enqueue_seconds, drain_seconds


async def _drain_yardstick(url: str, count: int) -> float:
    """Return the seconds of the least that a queue can do: claim 500 rows durably, then delete them.

    One psycopg connection, two prepared statements in two commits, as a worker needs them; no handler, no history, no
    lease, and planned by the same look-ups by primary key as Runledger's own statements.
    """
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DROP TABLE IF EXISTS yardstick")
        await connection.execute(_CREATE_YARDSTICK)
        await connection.execute(_INDEX_YARDSTICK)
        await connection.execute(_FILL_YARDSTICK, [json.dumps(PAYLOAD), count])
        started_at = time.perf_counter()
        remaining = count
        while remaining > 0:
            cursor = connection.cursor(binary=True)
            await cursor.execute(_CLAIM_YARDSTICK, [_YARDSTICK_BATCH], prepare=True)
            ids = [row[0] for row in await cursor.fetchall()]
            await connection.execute(_DELETE_YARDSTICK, [ids], prepare=True)
            remaining -= len(ids)
        return time.perf_counter() - started_at
