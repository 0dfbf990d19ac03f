"""When a step is released, and when it can never be: the rule behind every dependency, without a database.

A step waits until all its prerequisites have ended, even when one of them has already ended in a way that will not do.
Then it is released if each edge is satisfied, and canceled if not; a canceled step has ended, too, so the rule goes on
with those that wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runledger.core.workflows.enqueue_request import WorkflowStepEnqueue
from runledger.core.workflows.status import (
    WorkflowDependencyReleaseMode,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)

DEPENDENCY_UNSATISFIED = "workflow.dependency_unsatisfied"
"""Reason and error code of a step that was canceled because of how its prerequisites ended."""


@dataclass(slots=True, kw_only=True)
class StepStart:
    """How a step begins its life.

    Attributes:
        status: BLOCKED, or what it becomes at once.
        total: How many dependencies it has.
        pending: How many of them have a prerequisite that has not ended.
        unsatisfied: Those whose prerequisite has ended in a way that will not do.
    """

    status: WorkflowStepStatus = WorkflowStepStatus.BLOCKED
    total: int = 0
    pending: int = 0
    unsatisfied: int = 0


def satisfies(status: WorkflowStepStatus, release_mode: WorkflowDependencyReleaseMode) -> bool:
    """Whether a prerequisite that has ended with a status satisfies an edge."""
    return release_mode is WorkflowDependencyReleaseMode.ON_TERMINAL or status is WorkflowStepStatus.SUCCEEDED


def next_status(execution_kind: WorkflowStepExecutionKind, *, pending: int, unsatisfied: int) -> WorkflowStepStatus:
    """Return what becomes of a BLOCKED step with these counters."""
    if pending:
        return WorkflowStepStatus.BLOCKED
    if unsatisfied:
        return WorkflowStepStatus.CANCELED
    if execution_kind is WorkflowStepExecutionKind.EXTERNAL:
        return WorkflowStepStatus.WAITING_FOR_EXTERNAL
    return WorkflowStepStatus.ENQUEUED


def start_steps(steps: Sequence[WorkflowStepEnqueue], existing: Mapping[str, WorkflowStepStatus]) -> list[StepStart]:
    """Return how new steps begin, in their order.

    Args:
        steps: Validated new steps.
        existing: The steps of the run that new ones wait for, with their status.
    """
    positions = {step.step_key: position for position, step in enumerate(steps)}
    starts = [StepStart(total=len(step.dependencies)) for step in steps]
    dependents: list[list[tuple[int, WorkflowDependencyReleaseMode]]] = [[] for _ in steps]
    for position, step in enumerate(steps):
        start = starts[position]
        for dependency in step.dependencies:
            mode = dependency.effective_release_mode
            prerequisite = positions.get(dependency.prerequisite_step_key)
            if prerequisite is not None:
                start.pending += 1
                dependents[prerequisite].append((position, mode))
                continue
            status = existing[dependency.prerequisite_step_key]
            if not status.is_terminal:
                start.pending += 1
            elif not satisfies(status, mode):
                start.unsatisfied += 1
    undecided = [position for position, start in enumerate(starts) if not start.pending]
    while undecided:
        position = undecided.pop()
        start = starts[position]
        start.status = next_status(steps[position].execution_kind, pending=start.pending, unsatisfied=start.unsatisfied)
        if not start.status.is_terminal:
            continue
        for dependent, mode in dependents[position]:
            starts[dependent].pending -= 1
            starts[dependent].unsatisfied += not satisfies(start.status, mode)
            if not starts[dependent].pending:
                undecided.append(dependent)
    return starts
