"""The arguments of ``runledger workflow`` and ``runledger workflows``."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options
from runledger.cli.arguments.values import parse_count, parse_organization_id, parse_run_id

# Written out, as those of jobs.
_RUN_STATUSES = ("RUNNING", "WAITING_FOR_EXTERNAL", "SUCCEEDED", "COMPLETED_WITH_ERRORS", "CANCELED")
_GATE_STATUSES = ("SUCCEEDED", "FAILED", "CANCELED")

_WORKFLOWS = """\
List runs of workflows, newest first; those of all organizations, unless one is named.
"""

_WORKFLOW = """\
Show a run of a workflow, draw it, cancel it, or complete a gate of it. Runs of all
organizations are found.
"""

_SHOW = """\
Tell where a run stands, which gates wait for somebody and how to complete them, why jobs
of steps wait, what went wrong and for what reason, and where each step stands. More than
three steps that have the same type and status and wait for the same are one line.

Metadata, result, outputs, payloads and idempotency key may hold secrets: they are shown
only with --show-payload; outputs, and payloads but of gates that wait, only with --json
as well. Reasons, codes and messages are always shown.
"""

_DIAGRAM = """\
Print a run as a flowchart of Mermaid, with a class for each status. Gates are hexagons;
an edge is dotted where any end of the step before will do. More than three equal steps
are one box; a run that has too many boxes all the same is refused.
"""

_CANCEL = """\
Cancel a run, with every step of it that has not ended, and their jobs. A run that has
ended stays as it is.
"""

_COMPLETE = """\
Complete a gate that waits, so that the run goes on. Completing it again with the same
status changes nothing, and the answer says so.
"""


def add_workflows(add_parser: AddParser) -> None:
    """Add ``workflows``."""
    parser = add_parser("workflows", help="list runs", description=_WORKFLOWS, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument(
        "--status", type=str.upper, choices=_RUN_STATUSES, help="only runs with it, in any case of letters"
    )
    parser.add_argument(
        "--waiting", action="store_true", help="only runs in which a gate waits for somebody, also RUNNING ones"
    )
    parser.add_argument(
        "--type-contains",
        dest="workflow_type_contains",
        metavar="TEXT",
        help="only types with this text in them, in any case",
    )
    owner = parser.add_mutually_exclusive_group()
    owner.add_argument(
        "--organization",
        dest="organization_id",
        type=parse_organization_id,
        metavar="UUID",
        help="only those of this one",
    )
    owner.add_argument("--no-organization", action="store_true", help="only those of no organization")
    parser.add_argument("--limit", type=parse_count, metavar="N", default=20, help="how many runs at most; default: 20")
    parser.add_argument("--json", action="store_true", help="print one JSON object: runs; times in UTC")
    add_database_options(parser, default=argparse.SUPPRESS)


def add_workflow(add_parser: AddParser) -> None:
    """Add ``workflow`` and its actions."""
    parser = add_parser(
        "workflow",
        help="show, draw and cancel a run, complete its gates",
        description=_WORKFLOW,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_show(actions.add_parser)
    _add_diagram(actions.add_parser)
    _add_cancel(actions.add_parser)
    _add_complete(actions.add_parser)


def _add_show(add_parser: AddParser) -> None:
    parser = add_parser("show", help="tell where a run stands", description=_SHOW, epilog=ENVIRONMENT_AND_CODES)
    _add_run(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: run, steps, dependencies, enqueued; times in UTC"
    )
    parser.add_argument("--show-payload", action="store_true", help="show what may hold secrets too")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_diagram(add_parser: AddParser) -> None:
    parser = add_parser("diagram", help="draw a run", description=_DIAGRAM, epilog=ENVIRONMENT_AND_CODES)
    _add_run(parser)
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_cancel(add_parser: AddParser) -> None:
    parser = add_parser("cancel", help="cancel a run", description=_CANCEL, epilog=ENVIRONMENT_AND_CODES)
    _add_run(parser)
    _add_change_options(parser, result="the run")


def _add_complete(add_parser: AddParser) -> None:
    parser = add_parser("complete", help="complete a gate", description=_COMPLETE, epilog=ENVIRONMENT_AND_CODES)
    _add_run(parser)
    parser.add_argument("gate", metavar="GATE", help="the key of the gate")
    parser.add_argument(
        "--status",
        type=str.upper,
        choices=_GATE_STATUSES,
        default="SUCCEEDED",
        help="how it ended, in any case of letters; default: SUCCEEDED",
    )
    parser.add_argument("--output", metavar="JSON", help="what it puts out for those that come after")
    parser.add_argument("--error-code", metavar="CODE", help="what went wrong, as a short stable text")
    parser.add_argument("--error-message", metavar="TEXT", help="the text that goes with the code")
    _add_change_options(parser, result="the gate")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", type=parse_run_id, metavar="RUN", help="the UUID that enqueue_workflow returned")


def _add_change_options(parser: argparse.ArgumentParser, *, result: str) -> None:
    parser.add_argument("--reason", metavar="TEXT", help="why; kept with the steps")
    parser.add_argument("--json", action="store_true", help=f"print one JSON object: {result}; without payloads")
    add_database_options(parser, default=argparse.SUPPRESS)
