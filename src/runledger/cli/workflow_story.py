"""The story of a run in plain words, before anybody decides how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from runledger.cli.job_story import Lines, Story, Table
from runledger.cli.step_groups import StepGroup, describe_prerequisites, group_steps
from runledger.cli.times import describe_duration, describe_instant
from runledger.core import (
    WorkflowRunRecord,
    WorkflowStepDependency,
    WorkflowStepExecutionKind,
    WorkflowStepRecord,
    WorkflowStepStatus,
)
from runledger.core.printable import printable, shortened

_SHOWN_FAILURES = 10
_SHOWN_GATES = 10


def tell_run(
    run: WorkflowRunRecord,
    steps: Sequence[WorkflowStepRecord],
    dependencies: Sequence[WorkflowStepDependency],
    *,
    now: datetime,
) -> Story:
    """Tell where a run stands.

    Args:
        run: The run.
        steps: All its steps.
        dependencies: All its edges.
        now: The present, for what has not ended.
    """
    groups = group_steps(steps, dependencies)
    parts: list[Table | Lines] = [
        Table(
            title="Steps",
            columns=("step", "status", "job type", "waits for", "took"),
            rows=[_row(group, groups, now) for group in groups],
        )
    ]
    gates = [step for step in steps if step.status is WorkflowStepStatus.WAITING_FOR_EXTERNAL]
    if gates:
        parts.append(Lines(title="Waits for you", lines=_gate_lines(run, gates, now)))
    failures = [step for step in steps if step.last_error_code is not None]
    if failures:
        parts.append(Lines(title="What went wrong", lines=_failure_lines(failures)))
    return Story(
        title=f"Run {run.id} of workflow {printable(run.workflow_type)}",
        status=run.status,
        summary=_summary(run, now),
        facts=_facts(run),
        parts=parts,
    )


def _summary(run: WorkflowRunRecord, now: datetime) -> str:
    counts = run.step_counts
    ended = counts.total - counts.active - counts.waiting
    if run.finished_at is not None:
        took = describe_duration(run.finished_at - run.started_at)
        failed = f", {counts.unsuccessful} of them without success" if counts.unsuccessful else ""
        return f"It ended after {took}, with {counts.total} steps{failed}."
    waiting = f", {counts.waiting} gates wait" if counts.waiting else ""
    return f"{ended} of {counts.total} steps have ended after {describe_duration(now - run.started_at)}{waiting}."


def _facts(run: WorkflowRunRecord) -> list[tuple[str, str]]:
    facts: list[tuple[str, str | None]] = [
        ("status", run.status),
        ("enqueued", describe_instant(run.started_at)),
        ("finished", None if run.finished_at is None else describe_instant(run.finished_at)),
        ("result of", None if run.result_step_key is None else printable(run.result_step_key)),
        ("organization", None if run.organization_id is None else str(run.organization_id)),
    ]
    return [(label, text) for label, text in facts if text is not None]


def _row(group: StepGroup, groups: Sequence[StepGroup], now: datetime) -> tuple[str, ...]:
    step = group.steps[0]
    is_gate = step.execution_kind is WorkflowStepExecutionKind.EXTERNAL
    return (
        "  " * group.depth + group.name,
        step.status,
        "gate" if is_gate else printable(step.job_type or ""),
        describe_prerequisites(group, groups),
        _took(group, now),
    )


def _took(group: StepGroup, now: datetime) -> str:
    began = [step.started_at or step.released_at for step in group.steps]
    known = [instant for instant in began if instant is not None]
    if not known or group.steps[0].status in {WorkflowStepStatus.BLOCKED, WorkflowStepStatus.ENQUEUED}:
        return ""
    ended = [step.finished_at for step in group.steps if step.finished_at is not None]
    end = max(ended) if len(ended) == len(group.steps) else now
    return describe_duration(end - min(known))


def _gate_lines(run: WorkflowRunRecord, gates: Sequence[WorkflowStepRecord], now: datetime) -> list[str]:
    lines = [
        f"{shortened(gate.step_key)}, since {describe_duration(now - (gate.released_at or run.started_at))}"
        for gate in gates[:_SHOWN_GATES]
    ]
    if len(gates) > _SHOWN_GATES:
        lines.append(f"and {len(gates) - _SHOWN_GATES} more")
    return [*lines, f"`runledger workflow complete {run.id} GATE` opens one"]


def _failure_lines(failures: Sequence[WorkflowStepRecord]) -> list[str]:
    lines = [
        f"{shortened(step.step_key)}: {shortened(step.last_error_code or '')}"
        + (f": {shortened(step.last_error_message)}" if step.last_error_message else "")
        + (f" (job {step.job_id})" if step.job_id is not None else "")
        for step in failures[:_SHOWN_FAILURES]
    ]
    if len(failures) > _SHOWN_FAILURES:
        lines.append(f"and {len(failures) - _SHOWN_FAILURES} more; --json has all of them")
    return lines
