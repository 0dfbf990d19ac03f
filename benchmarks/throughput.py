"""Jobs per second: enqueue, drain, and the yardstick that keeps nothing."""

from __future__ import annotations

import asyncio
import json
import time

import psycopg

from benchmarks.workload import PAYLOAD, drain, prepare, requests
from runledger import Database, SyncLedger

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


def measure_drain(url: str, count: int) -> dict[str, float]:
    """Enqueue so many jobs with ``enqueue_many`` and drain them with one worker; full ledger, public API."""
    with SyncLedger.connect(url) as ledger:
        prepare(ledger)
        started_at = time.perf_counter()
        ledger.enqueue_many(requests(count))
        enqueue_seconds = time.perf_counter() - started_at
    drain_seconds = asyncio.run(drain(Database(url), count))
    _check_all_succeeded(url, count)
    return {"enqueue_many_per_s": count / enqueue_seconds, "drain_jobs_per_s": count / drain_seconds}


def measure_yardstick(url: str, count: int) -> float:
    """Return rows per second of the least that a queue can do: claim 500 rows durably, then delete them.

    One psycopg connection, two prepared statements in two commits, as a worker needs them; no handler, no history, no
    lease, and planned by the same look-ups by primary key as Runledger's own statements.
    """
    return asyncio.run(_drain_yardstick(url, count))


async def _drain_yardstick(url: str, count: int) -> float:
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
        return count / (time.perf_counter() - started_at)


def _check_all_succeeded(url: str, count: int) -> None:
    """A figure counts only when the ledger agrees with it."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            """
            SELECT count(*) FILTER (WHERE status = 'SUCCEEDED'),
                   (SELECT count(*) FROM runledger.job_attempts WHERE finished_at IS NOT NULL),
                   (SELECT count(*) FROM runledger.job_events)
              FROM runledger.job_queue
            """
        ).fetchone()
    if row != (count, count, 3 * count):
        raise RuntimeError(f"expected {count} jobs, {count} attempts and {3 * count} events, the ledger has {row}")
