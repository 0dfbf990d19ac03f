"""Memory of a worker over many jobs, and of an ``enqueue_many`` of many.

Measured in processes of their own, and only where the system has ``/proc``; elsewhere there are no figures.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.resident_memory import resident_bytes
from benchmarks.server import fresh_database
from benchmarks.worker_process import worker_process
from benchmarks.workload import prepare, requests
from runledger import SyncLedger
from runledger.embedded import EmbeddedServer

_MEBIBYTE = 2**20


def measure_worker_memory(server: EmbeddedServer, jobs: int, wave_jobs: int) -> dict[str, float]:
    """Run jobs in waves, and look at the memory of the worker process after each.

    The first fifth of the waves warms up: pools, buffers and caches reach their size. What follows should be flat, so
    the median of the last fifth is compared with that of the fifth after the warm-up.
    """
    if resident_bytes() is None:
        return {}
    sizes: list[int] = []
    with fresh_database(server) as url, SyncLedger.connect(url) as ledger:
        prepare(ledger)
        with worker_process(url, "tuned") as worker:
            worker.ask("start")
            for number in range(jobs // wave_jobs):
                ledger.enqueue_many(requests(wave_jobs))
                worker.until_executed(wave_jobs * (number + 1))
                sizes.append(worker.ask("report")["resident_bytes"])
    fifth = len(sizes) // 5
    first, last = statistics.median(sizes[fifth : 2 * fifth]), statistics.median(sizes[-fifth:])
    return {"worker_memory_mib": last / _MEBIBYTE, "worker_memory_growth_percent": 100 * (last / first - 1)}


def measure_enqueue_memory(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Stream a generator into ``enqueue_many``, and tell the memory that it takes beside that of the ids it returns."""
    if resident_bytes() is None:
        return {}
    with fresh_database(server) as url:
        with SyncLedger.connect(url) as ledger:
            prepare(ledger)
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks.enqueue_program", url, str(count)],
            stdout=subprocess.PIPE,
            check=True,
        )
    grown = json.loads(result.stdout)
    return {
        "enqueue_many_ids_mib": grown["ids"] / _MEBIBYTE,
        "enqueue_many_memory_mib": grown["enqueue_many"] / _MEBIBYTE,
    }
