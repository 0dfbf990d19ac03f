"""``runledger metrics``."""

from __future__ import annotations

import argparse
import dataclasses
from datetime import timedelta

from runledger.cli.failures import DONE
from runledger.cli.job_document import plain_document
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.times import describe_duration
from runledger.core import Admin, JobMetrics, JobMetricsReport
from runledger.core.printable import printable

_COLUMNS = (
    *("type", "paused", "pending", "leased", "stale", "succeeded", "retryable", "terminal", "panicked", "timeout"),
    *("canceled", "dead-lettered", "p50", "p95"),
)

_OPTION_OF = {"job_type": "--type", "window": "--window"}


def run(arguments: argparse.Namespace) -> int:
    """Print what each job type has waiting and running, and what its attempts came to."""
    with open_place(arguments) as place:
        with place.connect() as ledger, naming_options(_OPTION_OF):
            report = ledger.get_job_metrics(scope=Admin(), job_type=arguments.job_type, window=arguments.window)
        if arguments.json:
            print_json(_document(report))
        elif report.metrics:
            print(f"Attempts that began in the last {describe_duration(report.until - report.since)}:\n")
            print_columns([_COLUMNS, *(_row(of_type) for of_type in report.metrics)])
        else:
            print(f"no such job type in schema {place.schema} at {place.database.description}")
    return DONE


def _row(of_type: JobMetrics) -> tuple[str, ...]:
    return (
        printable(of_type.job_type),
        "no" if of_type.paused_at is None else "yes",
        f"{of_type.pending.count}{'' if of_type.pending.is_exact else '+'}",
        str(of_type.leased_count),
        str(of_type.stale_lease_count),
        str(of_type.succeeded_count),
        str(of_type.retryable_count),
        str(of_type.terminal_count),
        str(of_type.panicked_count),
        str(of_type.timeout_count),
        str(of_type.canceled_count),
        str(of_type.dead_lettered_count),
        _duration(of_type.p50_duration_ms),
        _duration(of_type.p95_duration_ms),
    )


def _duration(milliseconds: float | None) -> str:
    return "" if milliseconds is None else describe_duration(timedelta(milliseconds=milliseconds))


def _document(report: JobMetricsReport) -> dict[str, object]:
    return {
        "metrics": [plain_document(dataclasses.asdict(of_type)) for of_type in report.metrics],
        **plain_document({"since": report.since, "until": report.until}),
    }
