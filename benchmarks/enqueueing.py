"""Jobs enqueued per second, other than by a plain ``enqueue_many``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.throughput import enqueue_and_drain
from benchmarks.workload import JOB_TYPE, PAYLOAD, drain, prepare
from runledger import Database, EnqueueRequest, SyncLedger
from runledger.embedded import EmbeddedServer


def measure_one_by_one(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Enqueue one job after the other from one client, each in a transaction of its own."""
    with fresh_database(server) as url, SyncLedger.connect(url) as ledger:
        prepare(ledger)
        started_at = time.perf_counter()
        for _ in range(count):
            ledger.enqueue(JOB_TYPE, PAYLOAD)
        return {"enqueue_one_by_one_per_s": count / (time.perf_counter() - started_at)}


def measure_keyed(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Enqueue and drain plain jobs, then jobs with keys; then ask for the same keys again."""
    with fresh_database(server) as url:
        plain_enqueue_seconds, plain_drain_seconds = enqueue_and_drain(url, count)
    with fresh_database(server) as url:
        with SyncLedger.connect(url) as ledger:
            prepare(ledger)
            enqueue_seconds = _enqueue_keyed(ledger, count)
            repeat_seconds = _enqueue_keyed(ledger, count)
        drain_seconds = asyncio.run(drain(Database(url), count))
        check_ledger(url, succeeded=count)
    return {
        "keyed_enqueue_many_per_s": count / enqueue_seconds,
        "keyed_enqueue_ratio": plain_enqueue_seconds / enqueue_seconds,
        "known_keys_enqueue_many_per_s": count / repeat_seconds,
        "keyed_drain_jobs_per_s": count / drain_seconds,
        "keyed_drain_ratio": plain_drain_seconds / drain_seconds,
    }


def _enqueue_keyed(ledger: SyncLedger, count: int) -> float:
    started_at = time.perf_counter()
    ledger.enqueue_many(_keyed_requests(count))
    return time.perf_counter() - started_at


def _keyed_requests(count: int) -> Iterator[EnqueueRequest]:
    for number in range(count):
        yield EnqueueRequest(JOB_TYPE, PAYLOAD, idempotency_key=f"order-{number}")
