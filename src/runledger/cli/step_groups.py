"""Steps of a run in groups: those that stand for the same are one, so that a run of thousands can be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from runledger.core import (
    WorkflowDependencyReleaseMode,
    WorkflowStepDependency,
    WorkflowStepExecutionKind,
    WorkflowStepRecord,
    WorkflowStepStatus,
)
from runledger.core.printable import shortened

_FEW = 3
"""So many equal steps are named one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepGroup:
    """Steps that are shown as one.

    Attributes:
        steps: One step, or many that have the same type and status and wait for the same.
        prerequisites: What they wait for, by position in the list of groups, and which ends will do.
    """

    steps: list[WorkflowStepRecord]
    prerequisites: dict[int, WorkflowDependencyReleaseMode] = field(
        default_factory=dict[int, WorkflowDependencyReleaseMode]
    )

    @property
    def name(self) -> str:
        """The key, or the first and the last key and how many there are; safe to print."""
        if len(self.steps) == 1:
            return shortened(self.steps[0].step_key)
        first, last = shortened(self.steps[0].step_key), shortened(self.steps[-1].step_key)
        return f"{first} … {last} ({len(self.steps):,} steps)"

    @property
    def status(self) -> WorkflowStepStatus:
        """Where they stand."""
        return self.steps[0].status

    @property
    def is_gate(self) -> bool:
        """Whether the application completes them."""
        return self.steps[0].execution_kind is WorkflowStepExecutionKind.EXTERNAL


def group_steps(steps: Sequence[WorkflowStepRecord], dependencies: Sequence[WorkflowStepDependency]) -> list[StepGroup]:
    """Return the steps of a run in groups, each after those that it waits for.

    Steps are of one group when they have the same kind, type and status, and wait, and are waited for, by such steps:
    of a hundred chains the first steps are one group, the second ones another, as far as they stand at the same.
    """
    graph = _Graph(steps, dependencies)
    classes = _classes(graph)
    members: dict[Hashable, list[WorkflowStepRecord]] = defaultdict(list)
    for step in graph.ordered:
        members[classes[step.id]].append(step)
    groups: list[StepGroup] = []
    group_of: dict[UUID, int] = {}
    # In the order of their depth no group comes before one that it waits for: equal steps have one depth.
    for step in sorted(graph.ordered, key=lambda step: (graph.depths[step.id], step.id)):
        if step.id in group_of:
            continue
        equal = members[classes[step.id]]
        together = sorted(equal, key=lambda step: step.id) if len(equal) > _FEW else [step]
        for one in together:
            group_of[one.id] = len(groups)
        groups.append(StepGroup(steps=together))
    for step in steps:
        for prerequisite, mode in graph.prerequisites[step.id]:
            groups[group_of[step.id]].prerequisites[group_of[prerequisite]] = mode
    return groups


class _Graph:
    """The edges of a run in both directions.

    Attributes:
        ordered: The steps, each after those that it waits for.
        prerequisites: What each waits for.
        dependents: What waits for each.
        depths: How many steps come before each, one after the other.
    """

    def __init__(self, steps: Sequence[WorkflowStepRecord], dependencies: Sequence[WorkflowStepDependency]) -> None:
        self.prerequisites: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]] = {s.id: [] for s in steps}
        self.dependents: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]] = {s.id: [] for s in steps}
        for edge in dependencies:
            self.prerequisites[edge.dependent_step_id].append((edge.prerequisite_step_id, edge.release_mode))
            self.dependents[edge.prerequisite_step_id].append((edge.dependent_step_id, edge.release_mode))
        self.ordered: list[WorkflowStepRecord] = []
        self.depths: dict[UUID, int] = {}
        self._order({step.id: step for step in steps})

    def _order(self, steps: dict[UUID, WorkflowStepRecord]) -> None:
        missing = {step_id: len(edges) for step_id, edges in self.prerequisites.items()}
        ready = [step_id for step_id, count in missing.items() if count == 0]
        for step_id in ready:  # it grows
            self.ordered.append(steps[step_id])
            self.depths[step_id] = 1 + max((self.depths[edge[0]] for edge in self.prerequisites[step_id]), default=-1)
            for dependent, _ in self.dependents[step_id]:
                missing[dependent] -= 1
                if missing[dependent] == 0:
                    ready.append(dependent)


def _classes(graph: _Graph) -> dict[UUID, int]:
    """Return a number for each step; equal steps have equal numbers.

    One pass from the roots makes steps differ that come after different ones, one from the ends those that come before
    different ones; what a pass has told apart the next one may tell further, until nothing changes.
    """
    classes = _numbered({step.id: (step.execution_kind, step.job_type, step.status) for step in graph.ordered})
    count = 0
    while count != len(set(classes.values())):
        count = len(set(classes.values()))
        classes = _refined(classes, [step.id for step in graph.ordered], graph.prerequisites)
        classes = _refined(classes, [step.id for step in reversed(graph.ordered)], graph.dependents)
    return classes


def _refined(
    classes: dict[UUID, int],
    order: list[UUID],
    neighbours: dict[UUID, list[tuple[UUID, WorkflowDependencyReleaseMode]]],
) -> dict[UUID, int]:
    numbers: dict[Hashable, int] = {}
    refined: dict[UUID, int] = {}
    for step_id in order:
        around = frozenset((refined[other], mode) for other, mode in neighbours[step_id])
        refined[step_id] = numbers.setdefault((classes[step_id], around), len(numbers))
    return refined


def _numbered(keys: dict[UUID, Hashable]) -> dict[UUID, int]:
    numbers: dict[Hashable, int] = {}
    return {step_id: numbers.setdefault(key, len(numbers)) for step_id, key in keys.items()}
