"""``runledger workflow``."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from runledger.cli.failures import DONE, CommandError
from runledger.cli.json_option import parse_json
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import Place, open_place
from runledger.cli.show_story import show_story
from runledger.cli.step_diagram import MAX_BOXES, MAX_EDGES, diagram_lines
from runledger.cli.step_groups import group_steps
from runledger.cli.times import describe_instant
from runledger.cli.workflow_document import history_document, run_document, step_document
from runledger.cli.workflow_history import WorkflowHistory, read_workflow_history
from runledger.cli.workflow_story import tell_run
from runledger.core import Admin, CompletedGate, JsonValue, WorkflowStepStatus
from runledger.core.printable import printable
from runledger.postgres import QueryError

_OPTION_OF = {"step_key": "GATE", "reason": "--reason", "output": "--output"}
_OPTIONS_KEPT_WITH_A_GATE = ("output", "reason", "error_code", "error_message")


def run(arguments: argparse.Namespace) -> int:
    """Show a run, draw it, cancel it, or complete a gate of it."""
    with open_place(arguments) as place:
        try:
            with naming_options(_OPTION_OF):
                _ACTIONS[arguments.action](place, arguments)
        except QueryError as error:
            if not error.code.startswith("workflow."):
                raise
            raise CommandError(
                f"run {arguments.run_id} in {_where(place)}: {error.client_message} ({error.code})"
            ) from None
    return DONE


def _show(place: Place, arguments: argparse.Namespace) -> None:
    history = _read(place, arguments)
    if arguments.json:
        print_json(history_document(history, shows_payload=arguments.show_payload))
        return
    show_story(tell_run(history, now=datetime.now(UTC), shows_payload=arguments.show_payload))


def _diagram(place: Place, arguments: argparse.Namespace) -> None:
    history = _read(place, arguments)
    groups = group_steps(history.steps, history.dependencies)
    edge_count = sum(len(group.prerequisites) for group in groups)
    if len(groups) > MAX_BOXES or edge_count > MAX_EDGES:
        raise CommandError(
            f"the diagram would have {len(groups):,} boxes and {edge_count:,} edges, also with equal steps in one; "
            f"{MAX_BOXES} boxes can be read, and Mermaid draws {MAX_EDGES} edges; "
            f"`runledger workflow show {history.run.id}` shows the run"
        )
    print("\n".join(diagram_lines(groups)))


def _cancel(place: Place, arguments: argparse.Namespace) -> None:
    with place.connect() as ledger:
        canceled = ledger.cancel_workflow_run(arguments.run_id, scope=Admin(), reason=arguments.reason)
    if arguments.json:
        print_json(run_document(canceled))
    else:
        print(f"run {canceled.id} of type {printable(canceled.workflow_type)} is {canceled.status}")


def _complete(place: Place, arguments: argparse.Namespace) -> None:
    output = _output(arguments)
    with place.connect() as ledger:
        gate = ledger.complete_gate(
            arguments.run_id,
            arguments.gate,
            scope=Admin(),
            status=WorkflowStepStatus(arguments.status),
            output=output,
            reason=arguments.reason,
            error_code=arguments.error_code,
            error_message=arguments.error_message,
        )
    if arguments.json:
        print_json(step_document(gate))
    else:
        print(_completed(gate, arguments))


def _completed(gate: CompletedGate, arguments: argparse.Namespace) -> str:
    named = f"gate {printable(gate.step_key)} of run {gate.workflow_run_id}"
    if not gate.was_completed_already:
        return f"{named} is {gate.status}"
    since = "" if gate.finished_at is None else f", since {describe_instant(gate.finished_at)}"
    given = [
        f"--{name.replace('_', '-')}" for name in _OPTIONS_KEPT_WITH_A_GATE if getattr(arguments, name) is not None
    ]
    dropped = f"; {' and '.join(given)} of this command {'are' if len(given) > 1 else 'is'} not kept" if given else ""
    return f"{named} was {gate.status} already{since}: nothing was changed{dropped}"


_ACTIONS = {"show": _show, "diagram": _diagram, "cancel": _cancel, "complete": _complete}


def _read(place: Place, arguments: argparse.Namespace) -> WorkflowHistory:
    with place.connect() as ledger:
        history = read_workflow_history(ledger, arguments.run_id)
    if history is None:
        raise CommandError(
            f"there is no workflow run {arguments.run_id} in {_where(place)}; check the id, --schema and the database"
        )
    return history


def _where(place: Place) -> str:
    return f"schema {place.schema} at {place.database.description}"


def _output(arguments: argparse.Namespace) -> JsonValue:
    if arguments.output is None:
        return None
    return parse_json(arguments.output, option="--output", example='{"approved_by": "ada"}')
