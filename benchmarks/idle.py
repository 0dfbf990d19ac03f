"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time

from benchmarks.server import fresh_database
from benchmarks.statements import counted_statements
from benchmarks.worker_process import worker_process
from benchmarks.workload import enqueue
from runledger.embedded import EmbeddedServer

_SETTLE_SECONDS = 2.0
_WARM_UP_JOBS = 10


def measure_idle(server: EmbeddedServer, seconds: float) -> dict[str, float]:
    """Watch a supervisor with the default configuration, after some jobs and a moment to come to rest.

    The processor time is that of its process; the statements are all that its sessions send.
    """
    with fresh_database(server) as url:
        enqueue(url, _WARM_UP_JOBS)
        with worker_process(url, "default") as worker:
            worker.ask("start")
            worker.until_executed(_WARM_UP_JOBS)
            time.sleep(min(seconds, _SETTLE_SECONDS))
            with counted_statements(server) as count:
                cpu_before, started_at = worker.ask("report")["cpu_seconds"], time.perf_counter()
                statements_before = count()
                time.sleep(seconds)
                statements = count() - statements_before
                cpu, elapsed = worker.ask("report")["cpu_seconds"] - cpu_before, time.perf_counter() - started_at
    return {"idle_statements_per_s": statements / elapsed, "idle_cpu_percent": 100 * cpu / elapsed}
