"""The arguments of `runledger config`."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options
from runledger.cli.arguments.values import parse_count

_CONFIG = """\
A runtime config is a JSON object of a job type, for what an operator changes without
a deployment. Handlers that read it notice a change within their refresh interval,
30 seconds unless they say otherwise. Secrets do not belong there.
"""


def add_config(add_parser: AddParser) -> None:
    """Add ``config`` and its actions."""
    parser = add_parser(
        "config",
        help="list, show, set and delete runtime configs",
        description=_CONFIG,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, meaning in (
        ("list", "list the job types that have one"),
        ("show", "show the one of a job type"),
        ("set", "store one for a job type, in place of what it has"),
        ("delete", "delete the one of a job type; handlers go on with their default, if they have one"),
    ):
        one = actions.add_parser(action, help=meaning, description=_CONFIG, epilog=ENVIRONMENT_AND_CODES)
        if action != "list":
            one.add_argument("job_type", metavar="TYPE", help="the job type")
        if action == "set":
            one.add_argument("config", metavar="JSON", help="the whole object")
            one.add_argument(
                "--schema-version",
                type=parse_count,
                metavar="N",
                help="a number of your own for its form; without it the one that it has, or 1",
            )
        if action != "delete":
            one.add_argument("--json", action="store_true", help="print one JSON object")
        add_database_options(one, default=argparse.SUPPRESS)
