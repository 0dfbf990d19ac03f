"""``python -m benchmarks [--quick] [--json]``: run the measurements and print them."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable

from benchmarks.latency import POLL_INTERVAL_MS, measure_latency
from benchmarks.server import measured_server, read_settings
from benchmarks.throughput import measure_drain, measure_yardstick
from benchmarks.workload import CLAIM_BATCH_SIZE, SLOTS
from benchmarks.write_ahead_log import measure_wal_bytes_per_job

_JOBS = 20_000
_WAL_JOBS = 5_000


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    report = measure(rounds=3 if arguments.quick else 7, latency_samples=150 if arguments.quick else 1_000)
    if arguments.json:
        print(json.dumps(report))
    else:
        _print_table(report)


def measure(*, rounds: int, latency_samples: int) -> dict[str, object]:
    """Run everything on one fresh server.

    Drain and yardstick alternate, and each ratio is of neighbours, so that a machine that slows down for a while
    slows both. Figures are medians over the rounds.
    """
    drains: list[dict[str, float]] = []
    yardsticks: list[float] = []
    with measured_server() as server:
        for number in range(rounds):
            url = server.ensure_database(f"drain_{number}")
            yardsticks.append(measure_yardstick(url, _JOBS))
            drains.append(measure_drain(url, _JOBS))
        wal_bytes_per_job = measure_wal_bytes_per_job(server.ensure_database("wal"), _WAL_JOBS)
        latency = measure_latency(server.ensure_database("wal"), latency_samples)
        settings = read_settings(server.url)

    def median_of(value: Callable[[int], float]) -> float:
        return statistics.median(value(number) for number in range(rounds))

    return {
        "drain_jobs_per_s": round(median_of(lambda n: drains[n]["drain_jobs_per_s"])),
        "yardstick_jobs_per_s": round(median_of(lambda n: yardsticks[n])),
        "drain_ratio": round(median_of(lambda n: drains[n]["drain_jobs_per_s"] / yardsticks[n]), 3),
        "wal_bytes_per_job": round(wal_bytes_per_job),
        "enqueue_many_per_s": round(median_of(lambda n: drains[n]["enqueue_many_per_s"])),
        "latency_p50_ms": round(latency["latency_p50_ms"], 2),
        "latency_p99_ms": round(latency["latency_p99_ms"], 2),
        "rounds": rounds,
        "jobs_per_round": _JOBS,
        "slots": SLOTS,
        "claim_batch_size": CLAIM_BATCH_SIZE,
        "latency_samples": latency_samples,
        "poll_interval_ms": POLL_INTERVAL_MS,
        "python": platform.python_version(),
        "server_settings": settings,
    }


def _print_table(report: dict[str, object]) -> None:
    width = max(len(name) for name in report)
    for name, value in report.items():
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
