"""A run as a flowchart in Mermaid."""

from __future__ import annotations

from collections.abc import Sequence

from runledger.cli.failures import CommandError
from runledger.cli.step_groups import StepGroup, group_steps
from runledger.core import (
    WorkflowDependencyReleaseMode,
    WorkflowStepDependency,
    WorkflowStepExecutionKind,
    WorkflowStepRecord,
)

_MOST_NODES = 300

_CLASSES = {
    "SUCCEEDED": "fill:#d4edda,stroke:#2e7d32",
    "FAILED": "fill:#f8d7da,stroke:#c62828",
    "CANCELED": "fill:#eeeeee,stroke:#757575,stroke-dasharray:4",
    "RUNNING": "fill:#d1ecf1,stroke:#0277bd",
    "ENQUEUED": "fill:#fff3cd,stroke:#f9a825",
    "WAITING_FOR_EXTERNAL": "fill:#ffe0b2,stroke:#ef6c00,stroke-width:3px",
    "BLOCKED": "fill:#ffffff,stroke:#9e9e9e",
}


def draw_run(steps: Sequence[WorkflowStepRecord], dependencies: Sequence[WorkflowStepDependency]) -> str:
    """Return the text of the flowchart: a box for each step or group of steps alike, a hexagon for a gate.

    Raises:
        CommandError: There are too many of them for a picture.
    """
    groups = group_steps(steps, dependencies)
    if len(groups) > _MOST_NODES:
        raise CommandError(
            f"the run has {len(groups)} groups of steps, and a picture of more than {_MOST_NODES} shows nothing; "
            "`runledger workflow show` lists them"
        )
    lines = ["flowchart TD"]
    for position, group in enumerate(groups):
        lines.append(f"    s{position}{_box(group)}:::{group.steps[0].status}")
        for prerequisite, mode in group.prerequisites:
            arrow = "-.->" if mode is WorkflowDependencyReleaseMode.ON_TERMINAL else "-->"
            lines.append(f"    s{prerequisite} {arrow} s{position}")
    statuses = dict.fromkeys(str(group.steps[0].status) for group in groups)
    lines += [f"    classDef {status} {_CLASSES[status]}" for status in statuses]
    return "\n".join(lines)


def _box(group: StepGroup) -> str:
    label = group.name.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    if group.steps[0].execution_kind is WorkflowStepExecutionKind.EXTERNAL:
        return f'{{{{"{label}"}}}}'
    return f'["{label}"]'
