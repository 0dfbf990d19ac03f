"""Steps of a run in the order in which they can begin, those alike as one: a fan of a thousand is one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from runledger.core import WorkflowDependencyReleaseMode, WorkflowStepDependency, WorkflowStepRecord
from runledger.core.printable import shortened

_SHOWN_PREREQUISITES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StepGroup:
    """Steps with the same prerequisites, dependents, kind, type and status.

    Attributes:
        steps: The steps, at least one.
        depth: How many groups stand before it on the longest way.
        prerequisites: Positions of the groups that it waits for, each with the mode of the edges.
    """

    steps: tuple[WorkflowStepRecord, ...]
    depth: int
    prerequisites: tuple[tuple[int, WorkflowDependencyReleaseMode], ...]

    @property
    def name(self) -> str:
        """The key of the step, or the first and the last of several and their number."""
        first = shortened(self.steps[0].step_key)
        if len(self.steps) == 1:
            return first
        return f"{first} … {shortened(self.steps[-1].step_key)} ({len(self.steps)})"


def group_steps(steps: Sequence[WorkflowStepRecord], dependencies: Sequence[WorkflowStepDependency]) -> list[StepGroup]:
    """Return groups of steps, each behind those that it waits for, otherwise as the steps were made."""
    before: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]] = {step.id: [] for step in steps}
    after: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]] = {step.id: [] for step in steps}
    for edge in dependencies:
        before[edge.dependent_step_id].append((edge.prerequisite_step_id, edge.release_mode))
        after[edge.prerequisite_step_id].append((edge.dependent_step_id, edge.release_mode))
    alike: dict[object, list[WorkflowStepRecord]] = {}
    for step in _in_order(steps, before, after):
        likeness = (
            frozenset(before[step.id]),
            frozenset(after[step.id]),
            step.execution_kind,
            step.job_type,
            step.status,
            step.last_error_code,
        )
        alike.setdefault(likeness, []).append(step)
    position_of = {step.id: position for position, group in enumerate(alike.values()) for step in group}
    groups: list[StepGroup] = []
    for group in alike.values():
        prerequisites = sorted({(position_of[step_id], mode) for step_id, mode in before[group[0].id]})
        depth = max((groups[position].depth + 1 for position, _ in prerequisites), default=0)
        groups.append(StepGroup(steps=tuple(group), depth=depth, prerequisites=tuple(prerequisites)))
    return groups


def describe_prerequisites(group: StepGroup, groups: Sequence[StepGroup]) -> str:
    """Return what a group waits for, in words."""
    names = [
        groups[position].name + (" (end)" if mode is WorkflowDependencyReleaseMode.ON_TERMINAL else "")
        for position, mode in group.prerequisites
    ]
    hidden = len(names) - _SHOWN_PREREQUISITES
    return ", ".join(names[:_SHOWN_PREREQUISITES]) + (f" and {hidden} more" if hidden > 0 else "")


def _in_order(
    steps: Sequence[WorkflowStepRecord],
    before: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]],
    after: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]],
) -> list[WorkflowStepRecord]:
    step_of = {step.id: step for step in steps}
    pending = {step_id: len(edges) for step_id, edges in before.items()}
    ordered = [step for step in steps if pending[step.id] == 0]
    for step in ordered:  # grows while it is read
        for dependent, _ in after[step.id]:
            pending[dependent] -= 1
            if pending[dependent] == 0:
                ordered.append(step_of[dependent])
    return ordered
