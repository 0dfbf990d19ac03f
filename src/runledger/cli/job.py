"""``runledger job``."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from runledger.cli.failures import DONE
from runledger.cli.job_choice import find_chosen_job, no_such_job
from runledger.cli.job_document import encode_history
from runledger.cli.job_history import read_history
from runledger.cli.job_story import tell_story
from runledger.cli.place import open_place
from runledger.cli.show_story import show_story


def run(arguments: argparse.Namespace) -> int:
    """Print the story of one job."""
    with open_place(arguments) as place:
        with place.connect() as ledger:
            job = find_chosen_job(ledger, arguments)
            history = None if job is None else read_history(ledger, job.id)
        if history is None:
            raise no_such_job(arguments, place)
        if arguments.json:
            print(encode_history(history, shows_payload=arguments.show_payload))
        else:
            show_story(tell_story(history, now=datetime.now(UTC), shows_payload=arguments.show_payload))
    return DONE
