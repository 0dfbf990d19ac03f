"""``runledger jobs``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from runledger.cli.failures import DONE
from runledger.cli.job_choice import chosen_scope
from runledger.cli.job_document import plain_document
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.times import describe_duration
from runledger.client import SyncLedger
from runledger.core import JobStatus, JobSummary
from runledger.core.printable import printable, shortened

_COLUMNS = ("id", "type", "status", "attempt", "enqueued", "last error")
_OPTION_OF = {"job_type": "--type", "job_type_contains": "--type-contains"}
_PAGE = 500
# A filter that lets nothing through must not read a table of any size: as much as takes a second.
_MAX_PAGES_WITHOUT_JOBS = 100


def run(arguments: argparse.Namespace) -> int:
    """Print jobs, newest first."""
    with open_place(arguments) as place:
        with place.connect() as ledger, naming_options(_OPTION_OF):
            found = list(_read(ledger, arguments))
        if arguments.json:
            print_json({"jobs": [plain_document(dataclasses.asdict(job)) for job in found]})
        elif found:
            now = datetime.now(UTC)
            print_columns([_COLUMNS, *(_row(job, now) for job in found)])
        else:
            print(f"no such job in schema {place.schema} at {place.database.description}")
    return DONE


def _read(ledger: SyncLedger, arguments: argparse.Namespace) -> Iterator[JobSummary]:
    missing: int = arguments.limit
    cursor: str | None = None
    empty_pages = 0
    while missing > 0:
        page = ledger.list_jobs(
            scope=chosen_scope(arguments),
            status=None if arguments.status is None else JobStatus(arguments.status),
            job_type=arguments.job_type,
            job_type_contains=arguments.job_type_contains,
            limit=min(missing, _PAGE),
            cursor=cursor,
        )
        yield from page.jobs
        missing -= len(page.jobs)
        cursor = page.next_cursor
        empty_pages = 0 if page.jobs else empty_pages + 1
        if cursor is None:
            return
        if empty_pages == _MAX_PAGES_WITHOUT_JOBS:
            print("runledger: gave up after two million jobs without another match", file=sys.stderr)
            return


def _row(job: JobSummary, now: datetime) -> tuple[str, ...]:
    error = ": ".join(shortened(text) for text in (job.last_error_code, job.last_error_message) if text)
    return (
        str(job.id),
        printable(job.job_type),
        job.status,
        f"{job.attempt} of {job.max_attempts}",
        f"{describe_duration(now - job.created_at)} ago",
        error,
    )
