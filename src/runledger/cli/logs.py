"""``runledger logs``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from uuid import UUID

from runledger.cli.failures import DONE
from runledger.cli.job_choice import find_chosen_job, no_such_job
from runledger.cli.job_document import log_document
from runledger.cli.job_tables import LOG_COLUMNS, log_rows
from runledger.cli.json_text import json_text
from runledger.cli.option_names import naming_options
from runledger.cli.place import open_place
from runledger.cli.plain_text import print_columns
from runledger.client import SyncLedger
from runledger.core import Admin, JobLog

_PAGE = 1_000


def run(arguments: argparse.Namespace) -> int:
    """Print the log of one job, page by page: it may be long."""
    with open_place(arguments) as place, place.connect() as ledger, naming_options({"after_id": "--after"}):
        job = find_chosen_job(ledger, arguments)
        if job is None:
            raise no_such_job(arguments, place)
        is_empty = True
        for page in _pages(ledger, job.id, after_id=arguments.after):
            if arguments.json:
                for line in page:
                    print(json_text(log_document(line, shows_payload=arguments.show_payload), indent=None))
            else:
                rows = log_rows(page, since=job.created_at, shows_payload=arguments.show_payload)
                print_columns([LOG_COLUMNS, *rows] if is_empty else rows)
            is_empty = False
        if is_empty and not arguments.json:
            print(f"the log of job {job.id} is empty")
    return DONE


def _pages(ledger: SyncLedger, job_id: UUID, *, after_id: int) -> Iterator[list[JobLog]]:
    while page := ledger.list_job_logs(job_id, scope=Admin(), after_id=after_id, limit=_PAGE):
        yield page
        after_id = page[-1].id
