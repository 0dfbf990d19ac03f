"""What the figures mean: the words and the digits of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        meaning: What it tells, as a table says it.
        digits: Digits behind the point.
        unit: Unit, as it follows the number.
        bound: What it should be at least (``≥``) or at most (``≤``), if there is a bound.
    """

    meaning: str
    digits: int = 0
    unit: str = ""
    bound: str = ""


FIGURES: Mapping[str, Figure] = {
    "drain_jobs_per_s": Figure("jobs drained per second", bound="≥ 12,000"),
    "yardstick_jobs_per_s": Figure("yardstick, rows per second"),
    "drain_ratio": Figure("drain by yardstick", 3, bound="≥ 0.35"),
    "enqueue_many_per_s": Figure("jobs enqueued per second by `enqueue_many`"),
    "wal_bytes_per_job": Figure("write-ahead log per job, first claim to last outcome", 0, " bytes", "≤ 2,500"),
    "latency_p50_ms": Figure("commit to handler start at rest, median", 2, " ms", "≤ 3"),
    "latency_p99_ms": Figure("commit to handler start at rest, 99th percentile", 2, " ms", "≤ 10"),
    "half_load_jobs_per_s": Figure("half load of the default configuration, jobs per second"),
    "half_load_latency_p50_ms": Figure("commit to handler start at half load, median", 2, " ms"),
    "half_load_latency_p99_ms": Figure("commit to handler start at half load, 99th percentile", 2, " ms"),
    "enqueue_one_by_one_per_s": Figure("jobs enqueued per second one by one"),
    "keyed_enqueue_many_per_s": Figure("jobs with new keys enqueued per second by `enqueue_many`"),
    "keyed_enqueue_ratio": Figure("… by plain", 2, bound="≥ 0.5"),
    "known_keys_enqueue_many_per_s": Figure("known keys asked for again per second by `enqueue_many`"),
    "keyed_drain_jobs_per_s": Figure("jobs with keys drained per second"),
    "keyed_drain_ratio": Figure("… by plain", 2, bound="≥ 0.5"),
    "retry_attempts_per_s": Figure("attempts per second when each job fails once and is retried"),
    "retry_ratio": Figure("… by plain", 2, bound="≥ 0.5"),
    "dead_letter_jobs_per_s": Figure("jobs per second when each is dead-lettered"),
    "dead_letter_ratio": Figure("… by plain", 2, bound="≥ 0.5"),
    "transaction_jobs_per_s": Figure("jobs per second that insert a row in `context.transaction()`"),
    "transaction_ratio": Figure("… by plain", 2, bound="≥ 0.1"),
    "default_drain_jobs_per_s": Figure("jobs drained per second with the default configuration"),
    "default_ratio": Figure("… by tuned", 2),
    "large_drain_jobs_per_s": Figure("jobs drained per second from a large backlog"),
    "one_process_jobs_per_s": Figure("jobs drained per second by one worker process"),
    "two_processes_jobs_per_s": Figure("jobs drained per second by two worker processes"),
    "two_processes_ratio": Figure("… by one", 2),
    "held_snapshot_drain_jobs_per_s": Figure("jobs drained per second under a held snapshot"),
    "held_snapshot_drain_ratio": Figure("… by free", 2, bound="≥ 0.8"),
    "free_claim_ms": Figure("claim of 10 that finds 3, median", 2, " ms"),
    "held_snapshot_claim_ms": Figure("the same after churn under a held snapshot", 2, " ms"),
    "held_snapshot_claim_ratio": Figure("… by free", 2, bound="≤ 3"),
    "idle_statements_per_s": Figure("statements per second of an idle worker", 2, bound="≤ 4"),
    "idle_cpu_percent": Figure("processor time of an idle worker", 2, " %", "≤ 1"),
    "worker_memory_mib": Figure("memory of a worker process at the end", 1, " MiB"),
    "worker_memory_growth_percent": Figure("… its growth after the warm-up", 1, " %", "≤ 5"),
    "enqueue_many_ids_mib": Figure("memory of the ids that one large `enqueue_many` returns", 1, " MiB"),
    "chain_steps_per_s": Figure("steps per second of chains of four"),
    "fan_steps_per_s": Figure("steps per second of fans of a thousand with their fan-in"),
    "diamond_steps_per_s": Figure("steps per second of diamonds"),
    "workflow_steps_per_s": Figure("steps per second of all these", bound="≥ 4,000"),
    "workflow_to_plain_ratio": Figure("… by plain jobs drained", 2, bound="≥ 0.35"),
    "fanout_step_us": Figure("a step of the widest fan", 0, " µs"),
    "fanout_growth_ratio": Figure("… the dearest by one of the narrowest fan", 2, bound="≤ 1.5"),
    "admin_page_ms": Figure(
        "a page of all jobs, of given-up ones or dead letters, behind the history", 1, " ms", "≤ 50"
    ),
    "admin_filtered_page_ms": Figure("a page of rare, of partly named or of waiting ones", 1, " ms", "≤ 50"),
    "admin_count_ms": Figure("a count of all, of waiting or of canceled ones", 1, " ms", "≤ 50"),
    "admin_metrics_ms": Figure("the metrics of a day", 1, " ms", "≤ 50"),
    "enqueue_many_memory_mib": Figure("memory that this `enqueue_many` takes, ids included", 1, " MiB"),
}


def rounded(name: str, value: float) -> float:
    """Return the value with the digits of its figure, a whole number where it has none."""
    return round(value, FIGURES[name].digits or None)


def markdown_table(measured: Mapping[str, float]) -> str:
    """Return the figures as a table for the documentation."""
    lines = ["| Figure | Key | Seen | Aim |", "|---|---|---|---|"]
    for name, value in measured.items():
        figure = FIGURES[name]
        lines.append(f"| {figure.meaning} | `{name}` | {value:,.{figure.digits}f}{figure.unit} | {figure.bound} |")
    return "\n".join(lines)
