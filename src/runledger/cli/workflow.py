"""``runledger workflow``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from datetime import UTC, datetime
from typing import Any

from runledger.cli.failures import DONE, BadInputError, CommandError
from runledger.cli.job_document import plain_document
from runledger.cli.place import Place, open_place
from runledger.cli.plain_text import print_columns, print_plain
from runledger.cli.times import describe_duration
from runledger.cli.workflow_diagram import draw_run
from runledger.cli.workflow_story import tell_run
from runledger.client import SyncLedger
from runledger.core import Admin, WorkflowRunRecord, WorkflowRunStatus, WorkflowStepStatus
from runledger.core.printable import printable
from runledger.postgres import QueryError

_COLUMNS = ("id", "type", "status", "steps ended", "enqueued", "took")
_PAGE = 500
_MAY_HOLD_SECRETS = frozenset({"payload", "output", "metadata", "result", "idempotency_key"})


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    actions = {"list": _list, "show": _show, "diagram": _diagram, "cancel": _cancel, "complete": _complete}
    with open_place(arguments) as place, place.connect() as ledger:
        try:
            actions[arguments.action](ledger, place, arguments)
        except QueryError as error:
            if error.code == "workflow.run_not_found":
                raise _no_such_run(place, arguments) from None
            if not error.code.startswith("workflow."):
                raise
            raise CommandError(f"run {arguments.run_id}: {error.client_message}") from None
    return DONE


def _list(ledger: SyncLedger, place: Place, arguments: argparse.Namespace) -> None:
    runs = _read_runs(ledger, arguments)
    if arguments.json:
        print(json.dumps({"runs": [_document(run) for run in runs]}, indent=2))
    elif runs:
        now = datetime.now(UTC)
        print_columns([_COLUMNS, *(_row(run, now) for run in runs)])
    else:
        print(f"no such run in schema {place.schema} at {place.database.description}")


def _show(ledger: SyncLedger, place: Place, arguments: argparse.Namespace) -> None:
    run = _read_run(ledger, place, arguments)
    steps = ledger.list_workflow_steps(run.id, scope=Admin())
    dependencies = ledger.list_workflow_step_dependencies(run.id, scope=Admin())
    if arguments.json:
        shows = arguments.show_payload
        document = {
            "run": _document(run, shows_payload=shows),
            "steps": [_document(step, shows_payload=shows) for step in steps],
            "dependencies": [_document(edge) for edge in dependencies],
        }
        print(json.dumps(document, indent=2))
        return
    story = tell_run(run, steps, dependencies, now=datetime.now(UTC))
    if sys.stdout.isatty():
        try:
            from runledger.cli.rich_text import print_rich
        except ImportError:  # the extra is not installed
            pass
        else:
            print_rich(story)
            return
    print_plain(story)


def _diagram(ledger: SyncLedger, place: Place, arguments: argparse.Namespace) -> None:
    run = _read_run(ledger, place, arguments)
    steps = ledger.list_workflow_steps(run.id, scope=Admin())
    print(draw_run(steps, ledger.list_workflow_step_dependencies(run.id, scope=Admin())))


def _cancel(ledger: SyncLedger, place: Place, arguments: argparse.Namespace) -> None:
    before = _read_run(ledger, place, arguments)
    run = ledger.cancel_workflow_run(arguments.run_id, scope=Admin(), reason=arguments.reason)
    if before.status.is_terminal:
        print(f"run {run.id} of workflow {printable(run.workflow_type)} had ended already: {run.status}")
    else:
        print(f"canceled run {run.id} of workflow {printable(run.workflow_type)}")


def _complete(ledger: SyncLedger, place: Place, arguments: argparse.Namespace) -> None:
    _read_run(ledger, place, arguments)
    step = ledger.complete_gate(
        arguments.run_id,
        arguments.step_key,
        scope=Admin(),
        status=WorkflowStepStatus(arguments.status),
        output=_output(arguments.output),
        reason=arguments.reason,
    )
    print(f"gate {printable(step.step_key)} of run {arguments.run_id} is {step.status}")


def _read_runs(ledger: SyncLedger, arguments: argparse.Namespace) -> list[WorkflowRunRecord]:
    runs: list[WorkflowRunRecord] = []
    while len(runs) < arguments.limit:
        limit = min(arguments.limit - len(runs), _PAGE)
        page = ledger.list_workflow_runs(
            scope=Admin(),
            status=None if arguments.status is None else WorkflowRunStatus(arguments.status),
            workflow_type_contains=arguments.filter,
            limit=limit,
            before_run_id=runs[-1].id if runs else None,
        )
        runs += page
        if len(page) < limit:
            break
    return runs


def _read_run(ledger: SyncLedger, place: Place, arguments: argparse.Namespace) -> WorkflowRunRecord:
    run = ledger.get_workflow_run(arguments.run_id, scope=Admin())
    if run is None:
        raise _no_such_run(place, arguments)
    return run


def _no_such_run(place: Place, arguments: argparse.Namespace) -> CommandError:
    where = f"in schema {place.schema} at {place.database.description}"
    return CommandError(
        f"there is no run {arguments.run_id} of a workflow {where}; check the id, --schema and the database"
    )


def _output(text: str | None) -> Any:  # noqa: ANN401 (any JSON value)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise BadInputError("--output: is no JSON; quote a text twice, as in --output '\"yes\"'") from None


def _document(record: Any, *, shows_payload: bool = False) -> dict[str, object]:  # noqa: ANN401 (a record of workflows)
    hidden = frozenset[str]() if shows_payload else _MAY_HOLD_SECRETS
    return plain_document({name: value for name, value in dataclasses.asdict(record).items() if name not in hidden})


def _row(run: WorkflowRunRecord, now: datetime) -> tuple[str, ...]:
    counts = run.step_counts
    return (
        str(run.id),
        printable(run.workflow_type),
        run.status,
        f"{counts.total - counts.active - counts.waiting} of {counts.total}",
        f"{describe_duration(now - run.created_at)} ago",
        "" if run.finished_at is None else describe_duration(run.finished_at - run.started_at),
    )
