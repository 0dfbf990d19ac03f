"""``runledger job``."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from runledger.cli.failures import DONE, CommandError
from runledger.cli.job_document import encode_history
from runledger.cli.job_history import read_history
from runledger.cli.job_story import Story, tell_story
from runledger.cli.place import open_place
from runledger.cli.plain_text import print_plain


def run(arguments: argparse.Namespace) -> int:
    """Print the story of one job."""
    with open_place(arguments) as place:
        with place.connect() as ledger:
            history = read_history(ledger, arguments.job_id)
        if history is None:
            raise CommandError(
                f"there is no job {arguments.job_id} in schema {place.schema} at {place.database.description}; "
                "check the id, --schema and the database"
            )
        if arguments.json:
            print(encode_history(history, shows_payload=arguments.show_payload))
        else:
            _print_story(tell_story(history, now=datetime.now(UTC), shows_payload=arguments.show_payload))
    return DONE


def _print_story(story: Story) -> None:
    if sys.stdout.isatty():
        try:
            from runledger.cli.rich_text import print_rich
        except ImportError:  # the extra is not installed
            pass
        else:
            print_rich(story)
            return
    print_plain(story)
