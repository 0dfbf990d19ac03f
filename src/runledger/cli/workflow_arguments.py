"""The arguments of ``runledger workflow``."""

from __future__ import annotations

import argparse

from runledger.cli.argument_values import (
    ENVIRONMENT_AND_CODES,
    AddParser,
    add_database_options,
    nonblank_text,
    positive_count,
    run_id,
)

# Written out: the enumerations would load the core, and most commands need no status.
_RUN_STATUSES = ("RUNNING", "WAITING_FOR_EXTERNAL", "SUCCEEDED", "COMPLETED_WITH_ERRORS", "CANCELED")
_GATE_STATUSES = ("SUCCEEDED", "FAILED", "CANCELED")

_WORKFLOW = """\
List the runs of workflows, show what became of one, draw it, cancel it, or complete a
gate of it; of any organization.
"""

_SHOW = """\
Show where a run of a workflow stands: its steps in the order in which they can begin,
each below what it waits for. Steps of the same kind, in the same place and in the same
state, are one line. Payloads and outputs are shown only when asked for, in JSON.
"""

_DIAGRAM = """\
Print a run of a workflow as a flowchart in Mermaid, for documents that draw it. Lines
are dotted where the end of a step will do, whatever it is.
"""

_COMPLETE = """\
Complete a gate that is waiting: what waits for it is released or canceled with it. To
repeat it with the same status changes nothing.
"""


def add_workflow(add_parser: AddParser) -> None:
    """Add the command with its actions."""
    parser = add_parser(
        "workflow",
        help="list, show, draw and cancel runs of workflows, complete gates",
        description=_WORKFLOW,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_list(actions.add_parser)
    show = _add_action(actions.add_parser, "show", "show where a run stands", _SHOW)
    _add_json(show, "run, steps, dependencies")
    show.add_argument(
        "--show-payload", action="store_true", help="with --json: also payloads, outputs, metadata, result and key"
    )
    _add_action(actions.add_parser, "diagram", "print a run as a flowchart in Mermaid", _DIAGRAM)
    cancel = _add_action(actions.add_parser, "cancel", "cancel a run with all that has not ended", _WORKFLOW)
    cancel.add_argument(
        "--reason", type=nonblank_text, metavar="TEXT", help="kept as the status reason; CANCELED if not given"
    )
    complete = _add_action(actions.add_parser, "complete", "complete a gate", _COMPLETE)
    complete.add_argument("step_key", metavar="GATE", help="the key of the gate")
    complete.add_argument(
        "--status", type=str.upper, choices=_GATE_STATUSES, default="SUCCEEDED", help="how it ended; default: SUCCEEDED"
    )
    complete.add_argument("--output", metavar="JSON", help="a JSON value for those that come after")
    complete.add_argument("--reason", type=nonblank_text, metavar="TEXT", help="kept as the status reason")


def _add_list(add_parser: AddParser) -> None:
    parser = add_parser("list", help="list runs, newest first", description=_WORKFLOW, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("filter", metavar="TEXT", nargs="?", help="only types with this text in them, in any case")
    parser.add_argument(
        "--status", type=str.upper, choices=_RUN_STATUSES, help="only runs with it, in any case of letters"
    )
    parser.add_argument("--limit", type=positive_count, metavar="N", default=20, help="how many at most; default: 20")
    _add_json(parser, "runs")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_action(add_parser: AddParser, name: str, meaning: str, description: str) -> argparse.ArgumentParser:
    parser = add_parser(name, help=meaning, description=description, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("run_id", type=run_id, metavar="RUN", help="the id of the run")
    add_database_options(parser, default=argparse.SUPPRESS)
    return parser


def _add_json(parser: argparse.ArgumentParser, members: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print one JSON object: {members}; times in UTC")
