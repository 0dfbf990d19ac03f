"""The parts of a run: what can be asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from benchmarks.admin_reads import measure_admin_reads
from benchmarks.enqueueing import measure_keyed, measure_one_by_one
from benchmarks.failing import measure_failing
from benchmarks.half_load import measure_half_load
from benchmarks.handler_transactions import measure_handler_transactions
from benchmarks.held_snapshot import measure_held_snapshot_claim, measure_held_snapshot_drain
from benchmarks.idle import measure_idle
from benchmarks.latency import measure_latency
from benchmarks.memory import measure_enqueue_memory, measure_worker_memory
from benchmarks.rounds import median_of_rounds
from benchmarks.server import fresh_database
from benchmarks.sizes import Sizes
from benchmarks.throughput import measure_default_configuration, measure_drain_beside_yardstick, measure_large_drain
from benchmarks.two_workers import measure_two_workers
from benchmarks.workflow_runs import measure_fanout_growth, measure_workflows
from benchmarks.workload import enqueue
from benchmarks.write_ahead_log import measure_wal_bytes_per_job
from runledger.embedded import EmbeddedServer

Part: TypeAlias = Callable[[EmbeddedServer, Sizes], dict[str, float]]


def _drain(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return median_of_rounds(sizes.drain_rounds, partial(measure_drain_beside_yardstick, server, sizes.drain_jobs))


def _wal(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_wal_bytes_per_job(server, sizes.wal_jobs)


def _latency(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    with fresh_database(server) as url:
        enqueue(url, 0)
        return measure_latency(url, sizes.latency_samples)


def _half_load(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_half_load(server, sizes.half_load_capacity_jobs, sizes.half_load_seconds)


def _one_by_one(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_one_by_one(server, sizes.single_enqueues)


def _transaction(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    measure = partial(measure_handler_transactions, server, sizes.transaction_jobs, plain_count=sizes.comparison_jobs)
    return median_of_rounds(sizes.comparison_rounds, measure)


def _compared(measure: Callable[[EmbeddedServer, int], dict[str, float]]) -> Part:
    def part(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
        return median_of_rounds(sizes.comparison_rounds, partial(measure, server, sizes.comparison_jobs))

    return part


def _large(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_large_drain(server, sizes.large_drain_jobs)


def _two_workers(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_two_workers(server, sizes.two_worker_jobs)


def _held_snapshot(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return {
        **measure_held_snapshot_drain(server, sizes.held_waiting_jobs),
        **measure_held_snapshot_claim(server, sizes.held_churned_jobs, sizes.held_claims),
    }


def _idle(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_idle(server, sizes.idle_seconds)


def _memory(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return {
        **measure_worker_memory(server, sizes.memory_jobs, sizes.memory_wave_jobs),
        **measure_enqueue_memory(server, sizes.memory_enqueues),
    }


def _workflows(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    measure = partial(
        measure_workflows,
        server,
        chains=sizes.workflow_chains,
        fans=sizes.workflow_fans,
        diamonds=sizes.workflow_diamonds,
    )
    return {
        **median_of_rounds(sizes.comparison_rounds, measure),
        **measure_fanout_growth(server, sizes.fanout_widths),
    }


def _admin_reads(server: EmbeddedServer, sizes: Sizes) -> dict[str, float]:
    return measure_admin_reads(server, jobs=sizes.finished_jobs, rounds=sizes.admin_rounds)


PARTS: Mapping[str, Part] = {
    "drain": _drain,
    "wal": _wal,
    "latency": _latency,
    "half-load": _half_load,
    "one-by-one": _one_by_one,
    "keyed": _compared(measure_keyed),
    "failing": _compared(measure_failing),
    "transaction": _transaction,
    "default": _compared(measure_default_configuration),
    "large": _large,
    "two-workers": _two_workers,
    "held-snapshot": _held_snapshot,
    "idle": _idle,
    "memory": _memory,
    "workflows": _workflows,
    "admin-reads": _admin_reads,
}
"""In the order in which they run."""

NOT_QUICK = frozenset({"large", "memory", "admin-reads"})
"""Parts that a short run leaves out unless it is asked for them: small, they would say nothing."""
