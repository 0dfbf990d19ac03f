"""``runledger payload``."""

from __future__ import annotations

import argparse
import sys

from runledger.cli.failures import DONE
from runledger.cli.job_choice import find_chosen_job, no_such_job
from runledger.cli.json_text import json_lines, print_json
from runledger.cli.place import open_place


def run(arguments: argparse.Namespace) -> int:
    """Print the payload of one job."""
    with open_place(arguments) as place:
        with place.connect() as ledger:
            job = find_chosen_job(ledger, arguments)
        if job is None:
            raise no_such_job(arguments, place)
    if sys.stdout.isatty():
        # For a person; what is escaped in the way of Python need not be JSON any more.
        print("\n".join(json_lines(job.payload)))
    else:
        print_json(job.payload)
    return DONE
