"""The arguments of `runledger definition`."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options
from runledger.cli.arguments.values import duration_parser, parse_count, parse_integer
from runledger.cli.failures import BadInputError

_DEFINITION = """\
Definitions say which job types exist, and which defaults their jobs copy when they
are enqueued: a change leaves existing jobs alone.

A type that is disabled takes no new jobs: to enqueue one is refused with
job.definition_not_found_or_disabled. The jobs that it has are still run.

A type that is paused takes new jobs, and they wait: none of its jobs is claimed until
it is resumed. Those that run go on.
"""


def add_definition(add_parser: AddParser) -> None:
    """Add ``definition`` and its actions."""
    parser = add_parser(
        "definition",
        help="list, show and change job types",
        description=_DEFINITION,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_definition_list(actions.add_parser)
    _add_definition_show(actions.add_parser)
    _add_definition_set(actions.add_parser)
    for action, meaning in (("pause", "claim no jobs of a job type"), ("resume", "claim the jobs of a job type again")):
        parser = actions.add_parser(action, help=meaning, description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES)
        _add_definition_options(parser)


def check_definition_changes(arguments: argparse.Namespace) -> None:
    """Refuse a change that changes nothing."""
    changes = (arguments.max_attempts, arguments.timeout, arguments.priority, arguments.is_enabled)
    if all(change is None for change in changes):
        raise BadInputError(
            "nothing is to be changed; give --max-attempts, --timeout, --priority, --enable or --disable; "
            "see `runledger definition set --help`"
        )


def _add_definition_list(add_parser: AddParser) -> None:
    parser = add_parser("list", help="list job types", description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("filter", metavar="TEXT", nargs="?", help="only types with this text in them, in any case")
    parser.add_argument("--json", action="store_true", help="print one JSON object: definitions")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_definition_show(add_parser: AddParser) -> None:
    parser = add_parser("show", help="show one job type", description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES)
    _add_definition_options(parser)


def _add_definition_set(add_parser: AddParser) -> None:
    parser = add_parser(
        "set", help="change the defaults of a job type", description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("--max-attempts", type=parse_count, metavar="N", help="how often a job may be tried")
    parser.add_argument(
        "--timeout", type=duration_parser("1s"), metavar="DURATION", help="how long one attempt may take"
    )
    parser.add_argument("--priority", type=parse_integer, metavar="N", help="higher runs first; may be negative")
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--enable", dest="is_enabled", action="store_true", default=None, help="take new jobs")
    state.add_argument(
        "--disable", dest="is_enabled", action="store_false", default=None, help="take no new jobs; run those there are"
    )
    _add_definition_options(parser)


def _add_definition_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_type", metavar="TYPE", help="the job type")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the definition")
    add_database_options(parser, default=argparse.SUPPRESS)
