"""``runledger payload``."""

from __future__ import annotations

import argparse
import json
import sys

from runledger.cli.failures import DONE
from runledger.cli.job_choice import find_chosen_job, no_such_job
from runledger.cli.place import open_place
from runledger.core.printable import printable_lines


def run(arguments: argparse.Namespace) -> int:
    """Print the payload of one job."""
    with open_place(arguments) as place:
        with place.connect() as ledger:
            job = find_chosen_job(ledger, arguments)
        if job is None:
            raise no_such_job(arguments, place)
    if sys.stdout.isatty():
        # Letters of every language for a person; what is escaped in the way of Python need not be JSON any more.
        print("\n".join(printable_lines(json.dumps(job.payload, indent=2, ensure_ascii=False))))
    else:
        print(json.dumps(job.payload, indent=2))
    return DONE
