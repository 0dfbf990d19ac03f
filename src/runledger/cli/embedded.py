"""``runledger embedded``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys

from runledger.cli.failures import DONE, BadInputError
from runledger.cli.place import embedded_database

_STOP = (signal.SIGINT, signal.SIGTERM)


def run(arguments: argparse.Namespace) -> int:
    """Start the server, print the URL of its database, and keep it running until a signal."""
    if arguments.database_url is not None or arguments.embedded is not None:
        raise BadInputError("embedded has its own database: leave out --database-url, and give its name as NAME")
    with embedded_database(arguments.name, source="argument NAME") as url:
        # Blocked now and not earlier: the programs of the server would have inherited the mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        # Apart, so that a program can read the one and a person gets the other.
        print(url, flush=True)
        print(f"Runs until Ctrl-C. In another terminal: export DATABASE_URL={shlex.quote(url)}", file=sys.stderr)
        signal.sigwait(_STOP)
    return DONE
