"""The story of a run of a workflow in plain words."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from runledger.cli.step_groups import group_steps
from runledger.cli.step_tree import StepLine, step_lines
from runledger.cli.story import Lines, Story, Table, Tree
from runledger.cli.times import describe_duration, describe_instant
from runledger.core import (
    JsonValue,
    WorkflowRunRecord,
    WorkflowRunStatus,
    WorkflowStepDependency,
    WorkflowStepRecord,
    WorkflowStepStatus,
)
from runledger.core.printable import printable, printable_lines, shortened

_MAX_ROWS = 20
_MAX_LINES = 200
_DEPENDENCY_UNSATISFIED = "workflow.dependency_unsatisfied"


def tell_run(
    run: WorkflowRunRecord,
    steps: Sequence[WorkflowStepRecord],
    dependencies: Sequence[WorkflowStepDependency],
    *,
    now: datetime,
    shows_payload: bool = False,
) -> Story:
    """Tell the story of a run.

    Args:
        run: The run.
        steps: All its steps.
        dependencies: What waits for what.
        now: The present, for what waits.
        shows_payload: Whether metadata, result and idempotency key are part of it.
    """
    gates = [step for step in steps if step.status is WorkflowStepStatus.WAITING_FOR_EXTERNAL]
    failures = [step for step in steps if _has_failed(step)]
    facts = _facts(run, steps)
    parts: list[Table | Lines | Tree] = []
    if gates:
        parts.append(_gates(gates, now))
    if failures:
        parts.append(_failures(failures))
    parts += _steps(run, tree_of(steps, dependencies))
    values: dict[str, JsonValue] = {"Metadata": run.metadata}
    if run.has_result:
        values["Result"] = run.result
    if shows_payload:
        if run.idempotency_key is not None:
            facts.append(("idempotency key", printable(run.idempotency_key)))
        parts += [
            Lines(title=title, lines=printable_lines(json.dumps(value, indent=2, ensure_ascii=False)))
            for title, value in values.items()
        ]
    else:
        hidden = [*values, *(["idempotency key"] if run.idempotency_key is not None else [])]
        them = "them" if len(hidden) > 1 else "it"
        facts.append(("not shown", f"{', '.join(hidden).lower()}; --show-payload shows {them}"))
    return Story(
        title=f"Workflow run {run.id} of type {printable(run.workflow_type)}",
        status=run.status,
        summary=_summary(run, steps, gates, failures, now),
        facts=facts,
        parts=parts,
    )


def tree_of(steps: Sequence[WorkflowStepRecord], dependencies: Sequence[WorkflowStepDependency]) -> list[StepLine]:
    """Return the lines that show where the steps of a run stand; many that are equal have one together."""
    return step_lines(group_steps(steps, dependencies))


def _has_failed(step: WorkflowStepRecord) -> bool:
    """Whether it failed or was canceled by itself, and not because of others."""
    if step.status is WorkflowStepStatus.CANCELED:
        return step.last_error_code not in (None, _DEPENDENCY_UNSATISFIED)
    return step.status is WorkflowStepStatus.FAILED


def _summary(
    run: WorkflowRunRecord,
    steps: Sequence[WorkflowStepRecord],
    gates: list[WorkflowStepRecord],
    failures: list[WorkflowStepRecord],
    now: datetime,
) -> str:
    ended = sum(step.status.is_terminal for step in steps)
    done = f"{ended:,} of {_steps_in_words(len(steps))} have ended"
    age = describe_duration((run.finished_at or now) - run.created_at)
    match run.status:
        case WorkflowRunStatus.RUNNING:
            waiting = f"; {_gates_in_words(gates, 'waits', 'wait')}" if gates else ""
            sentence = f"Has been running for {age}: {done}{waiting}."
        case WorkflowRunStatus.WAITING_FOR_EXTERNAL:
            sentence = f"Goes on when {_gates_in_words(gates, 'is', 'are')} completed: {done}."
        case WorkflowRunStatus.SUCCEEDED:
            return f"Succeeded with {_steps_in_words(len(steps))}, {age} after it was enqueued."
        case WorkflowRunStatus.COMPLETED_WITH_ERRORS:
            sentence = f"Ended {age} after it was enqueued; not every step succeeded."
        case WorkflowRunStatus.CANCELED:
            sentence = f"Canceled {age} after it was enqueued."
    if failures:
        sentence = f"{sentence} First to fail: {shortened(min(failures, key=_ended_at).step_key)}."
    return sentence


def _ended_at(step: WorkflowStepRecord) -> datetime:
    return step.finished_at or step.updated_at


def _steps_in_words(count: int) -> str:
    return f"{count:,} step{'' if count == 1 else 's'}"


def _gates_in_words(gates: list[WorkflowStepRecord], verb: str, plural_verb: str) -> str:
    if len(gates) == 1:
        return f"the gate {shortened(gates[0].step_key)} {verb}"
    return f"{len(gates):,} gates {plural_verb}"


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


def _gates(gates: list[WorkflowStepRecord], now: datetime) -> Table:
    rows = [
        (shortened(gate.step_key), "" if gate.released_at is None else describe_duration(now - gate.released_at))
        for gate in gates[:_MAX_ROWS]
    ]
    if len(gates) > _MAX_ROWS:
        rows.append((f"and {len(gates) - _MAX_ROWS:,} more", ""))
    return Table(title="Waits for somebody", columns=("gate", "for"), rows=rows)


def _failures(failures: list[WorkflowStepRecord]) -> Table:
    """Return what went wrong, the first first; the same error of many steps is one row."""
    alike: dict[tuple[str, str, str], list[WorkflowStepRecord]] = defaultdict(list)
    for step in sorted(failures, key=_ended_at):
        code = shortened(step.last_error_code or "")
        alike[step.status, code, shortened(step.last_error_message or "")].append(step)
    rows = [
        (_named(steps), status, str(steps[0].job_id or ""), code, message)
        for (status, code, message), steps in list(alike.items())[:_MAX_ROWS]
    ]
    if len(alike) > _MAX_ROWS:
        rows.append((f"and {len(alike) - _MAX_ROWS:,} other errors", "", "", "", ""))
    return Table(title="What went wrong", columns=("step", "status", "job", "code", "message"), rows=rows)


def _named(steps: list[WorkflowStepRecord]) -> str:
    first = shortened(steps[0].step_key)
    return first if len(steps) == 1 else f"{first} and {len(steps) - 1:,} more"


def _steps(run: WorkflowRunRecord, lines: list[StepLine]) -> list[Table | Lines | Tree]:
    tree = Tree(title="Steps", lines=lines[:_MAX_LINES])
    if len(lines) <= _MAX_LINES:
        return [tree]
    more = f"{len(lines) - _MAX_LINES:,} more lines; `runledger workflow show {run.id} --json` has every step"
    return [tree, Lines(title="Steps, continued", lines=[more])]
