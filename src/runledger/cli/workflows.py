"""``runledger workflows``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

from runledger.cli.failures import DONE
from runledger.cli.job_choice import chosen_scope
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.times import describe_duration
from runledger.cli.workflow_document import run_document
from runledger.client import SyncLedger
from runledger.core import WorkflowRunRecord, WorkflowRunStatus
from runledger.core.printable import printable

_COLUMNS = ("id", "type", "status", "steps", "open", "failed or canceled", "enqueued", "took")
_PAGE = 500


def run(arguments: argparse.Namespace) -> int:
    """Print runs, newest first."""
    with open_place(arguments) as place:
        with place.connect() as ledger, naming_options({"workflow_type_contains": "--type-contains"}):
            found = list(_read(ledger, arguments))
        if arguments.json:
            print_json({"runs": [run_document(one) for one in found]})
        elif found:
            now = datetime.now(UTC)
            print_columns([_COLUMNS, *(_row(one, now) for one in found)])
        else:
            print(f"no such run in schema {place.schema} at {place.database.description}")
    return DONE


def _read(ledger: SyncLedger, arguments: argparse.Namespace) -> Iterator[WorkflowRunRecord]:
    missing: int = arguments.limit
    last: WorkflowRunRecord | None = None
    while missing > 0:
        wanted = min(missing, _PAGE)
        page = ledger.list_workflow_runs(
            scope=chosen_scope(arguments),
            status=None if arguments.status is None else WorkflowRunStatus(arguments.status),
            workflow_type_contains=arguments.workflow_type_contains,
            has_waiting_gate=arguments.waiting,
            limit=wanted,
            before_run_id=None if last is None else last.id,
        )
        yield from page
        if len(page) < wanted:
            return
        last = page[-1]
        missing -= len(page)


def _row(one: WorkflowRunRecord, now: datetime) -> tuple[str, ...]:
    counts = one.step_counts
    return (
        str(one.id),
        printable(one.workflow_type),
        one.status,
        f"{counts.total:,}",
        f"{counts.active + counts.waiting:,}",
        f"{counts.unsuccessful:,}",
        f"{describe_duration(now - one.created_at)} ago",
        "" if one.finished_at is None else describe_duration(one.finished_at - one.created_at),
    )
