"""What lists, counts and metrics take behind a long history of finished jobs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import psycopg

from benchmarks.server import fresh_database
from runledger import SyncLedger
from runledger.core import Admin, JobStatus
from runledger.embedded import EmbeddedServer

# A hundred thousand jobs an hour, by one worker, of twenty types; of a thousand two are given up twice, and one waits.
_FILL = (
    "INSERT INTO job_definitions (job_type) SELECT 'type.' || n FROM generate_series(1, 20) AS n",
    # Without the trigger of each foreign key it takes a third of the time.
    "SET session_replication_role = replica",
    """
    INSERT INTO job_queue (id, job_type, max_attempts, status, attempt, created_at)
    SELECT uuidv7(-n * interval '36 ms'), 'type.' || n % 20 + 1, 8,
           (CASE WHEN n % 500 = 0 THEN 'DEAD_LETTERED' WHEN n % 500 = 1 THEN 'CANCELED'
                 WHEN n % 1000 = 3 THEN 'PENDING' ELSE 'SUCCEEDED' END)::job_status, 1,
           now() - n * interval '36 ms'
      FROM generate_series({count}, 1, -1) AS n""",
    """
    INSERT INTO job_attempts (job_id, attempt, worker_id, leased_at, started_at, finished_at, created_at)
    SELECT id, 1, 'worker-1', created_at, created_at, created_at + interval '1 s', created_at FROM job_queue""",
    """
    INSERT INTO job_dead_letters (job_id, job_type, attempt, payload_snapshot, failed_at)
    SELECT id, job_type, 1, '{{}}', created_at FROM job_queue WHERE status = 'DEAD_LETTERED'""",
    "SET session_replication_role = origin",
    "VACUUM (ANALYZE) job_queue, job_attempts, job_dead_letters",
)

# The dearest of each kind: what is asked for is rare, or all there is.
_READS: Mapping[str, tuple[Callable[[SyncLedger], Any], ...]] = {
    "admin_page_ms": (
        lambda ledger: ledger.list_jobs(scope=Admin()),
        lambda ledger: ledger.list_jobs(scope=Admin(), status=JobStatus.DEAD_LETTERED),
        lambda ledger: ledger.list_dead_letters(scope=Admin()),
    ),
    "admin_filtered_page_ms": (
        lambda ledger: ledger.list_jobs(scope=Admin(), job_type="rare"),
        lambda ledger: ledger.list_jobs(scope=Admin(), job_type_contains="rare"),
        lambda ledger: ledger.list_jobs(scope=Admin(), status=JobStatus.PENDING),
    ),
    "admin_count_ms": (
        lambda ledger: ledger.count_jobs(scope=Admin()),
        lambda ledger: ledger.count_jobs(scope=Admin(), status=JobStatus.PENDING),
        lambda ledger: ledger.count_jobs(scope=Admin(), status=JobStatus.CANCELED),
    ),
    "admin_metrics_ms": (lambda ledger: ledger.get_job_metrics(window=timedelta(days=1)),),
}


def measure_admin_reads(server: EmbeddedServer, *, jobs: int, rounds: int) -> dict[str, float]:
    """Fill a database with so many jobs, most of them finished, and return what the dearest read of each kind takes.

    Args:
        server: Where.
        jobs: How many.
        rounds: How often each read is made; its median counts.
    """
    with fresh_database(server) as url:
        with SyncLedger.connect(url) as ledger:
            ledger.migrate()
        _fill(url, jobs)
        with SyncLedger.connect(url) as ledger:
            return {
                name: max(_median_milliseconds(lambda read=read: read(ledger), rounds) for read in reads)
                for name, reads in _READS.items()
            }


def _fill(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True, options="-c search_path=runledger") as connection:
        for statement in _FILL:
            connection.execute(statement.format(count=count).encode())


def _median_milliseconds(read: Callable[[], Any], rounds: int) -> float:
    def timed() -> float:
        started_at = time.perf_counter()
        read()
        return 1_000 * (time.perf_counter() - started_at)

    timed()  # plans, and what the cache does not have yet
    return statistics.median(timed() for _ in range(rounds))
