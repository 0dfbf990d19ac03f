"""Two worker processes beside one."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.worker_process import until_all_executed, worker_process
from benchmarks.workload import enqueue
from runledger.embedded import EmbeddedServer

# Claims and outcomes of all processes by one clock, that of the database.
_READ_SECONDS = """
SELECT extract(epoch FROM max(finished_at) - min(leased_at))::double precision FROM runledger.job_attempts
"""


def measure_two_workers(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Drain with one process, then with two."""
    one = count / _drain_with(server, 1, count)
    two = count / _drain_with(server, 2, count)
    return {"one_process_jobs_per_s": one, "two_processes_jobs_per_s": two, "two_processes_ratio": two / one}


def _drain_with(server: EmbeddedServer, workers: int, count: int) -> float:
    with fresh_database(server) as url:
        enqueue(url, count)
        with ExitStack() as stack:
            processes = [stack.enter_context(worker_process(url, "tuned")) for _ in range(workers)]
            for process in processes:
                process.ask("report")  # it has started, and imported everything
            for process in processes:
                process.send("start")
            for process in processes:
                process.receive()
            until_all_executed(processes, count)
        check_ledger(url, succeeded=count)
        with psycopg.connect(url) as connection:
            row = connection.execute(_READ_SECONDS).fetchone()
    assert row is not None  # noqa: S101 (an aggregate has one row)
    return row[0]
