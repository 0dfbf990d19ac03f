"""The story of a run of a workflow in plain words."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from runledger.cli.json_text import json_lines
from runledger.cli.step_groups import group_steps
from runledger.cli.step_tree import StepLine, step_lines
from runledger.cli.story import Lines, Story, Table, Tree
from runledger.cli.times import describe_duration, describe_instant
from runledger.cli.workflow_history import WorkflowHistory
from runledger.cli.workflow_summary import summarize_run, was_canceled_with
from runledger.cli.workflow_tables import MAX_ROWS, enqueued_table, failure_table, gate_table
from runledger.core import (
    JsonValue,
    WorkflowRunRecord,
    WorkflowStepDependency,
    WorkflowStepRecord,
    WorkflowStepStatus,
)
from runledger.core.printable import printable, shortened
from runledger.core.workflows.step_release import DEPENDENCY_UNSATISFIED

_MAX_LINES = 200


def tell_run(history: WorkflowHistory, *, now: datetime, shows_payload: bool = False) -> Story:
    """Tell the story of a run.

    Args:
        history: The run.
        now: The present, for what waits.
        shows_payload: Whether metadata, result, payloads of gates that wait and idempotency key are part of it.
    """
    run, steps = history.run, history.steps
    gates = [step for step in steps if step.status is WorkflowStepStatus.WAITING_FOR_EXTERNAL]
    failures = sorted((step for step in steps if _has_failed(run, step)), key=_ended_at)
    facts = _facts(run, steps)
    parts: list[Table | Lines | Tree] = []
    if gates:
        parts += [gate_table(gates, now), _how_to_complete(gates)]
    if history.enqueued:
        parts.append(enqueued_table(history.enqueued, steps, now))
    if failures:
        parts.append(failure_table(failures))
    parts += _steps(run, tree_of(steps, history.dependencies))
    values = _values(run, gates)
    if shows_payload:
        if run.idempotency_key is not None:
            facts.append(("idempotency key", printable(run.idempotency_key)))
        parts += [Lines(title=title, lines=json_lines(value)) for title, value in values]
    else:
        facts.append(("not shown", _hidden(run, gates)))
    return Story(
        title=f"Workflow run {run.id} of type {printable(run.workflow_type)}",
        status=run.status,
        summary=summarize_run(run, steps, gates=gates, failures=failures, now=now),
        facts=facts,
        parts=parts,
    )


def tree_of(steps: Sequence[WorkflowStepRecord], dependencies: Sequence[WorkflowStepDependency]) -> list[StepLine]:
    """Return the lines that show where the steps of a run stand; many that are equal have one together."""
    return step_lines(group_steps(steps, dependencies))


def _has_failed(run: WorkflowRunRecord, step: WorkflowStepRecord) -> bool:
    """Whether it failed or was canceled by itself, and not because of others or, without an error, with its run."""
    if step.status is not WorkflowStepStatus.CANCELED:
        return step.status is WorkflowStepStatus.FAILED
    if step.last_error_code == DEPENDENCY_UNSATISFIED:
        return False
    has_error = step.last_error_code is not None or step.last_error_message is not None
    return has_error or not was_canceled_with(run, step)


def _ended_at(step: WorkflowStepRecord) -> datetime:
    return step.finished_at or step.updated_at


def _values(run: WorkflowRunRecord, gates: Sequence[WorkflowStepRecord]) -> list[tuple[str, JsonValue]]:
    """Return what may hold secrets, by title. Who completes a gate decides by its payload."""
    values: list[tuple[str, JsonValue]] = [("Metadata", run.metadata)]
    if run.has_result:
        values.append(("Result", run.result))
    values += [(f"Payload of the gate {shortened(gate.step_key)}", gate.payload) for gate in _with_payload(gates)]
    return values


def _hidden(run: WorkflowRunRecord, gates: Sequence[WorkflowStepRecord]) -> str:
    names = ["metadata"]
    if run.has_result:
        names.append("result")
    if count := len(_with_payload(gates)):
        names.append("payload of the gate" if count == 1 else "payloads of gates")
    if run.idempotency_key is not None:
        names.append("idempotency key")
    return f"{', '.join(names)}; --show-payload shows {'them' if len(names) > 1 else 'it'}"


def _with_payload(gates: Sequence[WorkflowStepRecord]) -> list[WorkflowStepRecord]:
    """Return those of the gates that are named that have one."""
    return [gate for gate in gates[:MAX_ROWS] if gate.payload is not None]


def _how_to_complete(gates: Sequence[WorkflowStepRecord]) -> Lines:
    lines = [
        printable(f"runledger workflow complete {gate.workflow_run_id} {shlex.quote(gate.step_key)}")
        for gate in gates[:MAX_ROWS]
    ]
    return Lines(title="To complete it" if len(gates) == 1 else "To complete them", lines=lines)


def _facts(run: WorkflowRunRecord, steps: Sequence[WorkflowStepRecord]) -> list[tuple[str, str]]:
    counts = Counter(step.status for step in steps)
    facts = [
        ("status", str(run.status)),
        ("steps", ", ".join(f"{counts[status]:,} {status}" for status in WorkflowStepStatus if counts[status])),
        ("enqueued", describe_instant(run.created_at)),
    ]
    if run.finished_at is not None:
        after = describe_duration(run.finished_at - run.created_at)
        facts.append(("finished", f"{describe_instant(run.finished_at)}, {after} after it was enqueued"))
    if run.result_step_key is not None:
        has = "it is there" if run.has_result else "it is not there"
        facts.append(("result", f"of step {shortened(run.result_step_key)}; {has}"))
    if run.organization_id is not None:
        facts.append(("organization", str(run.organization_id)))
    return facts


def _steps(run: WorkflowRunRecord, lines: list[StepLine]) -> list[Table | Lines | Tree]:
    tree = Tree(title="Steps", lines=lines[:_MAX_LINES])
    if len(lines) <= _MAX_LINES:
        return [tree]
    more = f"{len(lines) - _MAX_LINES:,} more lines; `runledger workflow show {run.id} --json` has every step"
    return [tree, Lines(title="Steps, continued", lines=[more])]
