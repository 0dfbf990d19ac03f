"""The steps of a run as a flowchart of Mermaid."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runledger.cli.step_groups import StepGroup
from runledger.core import WorkflowDependencyReleaseMode, WorkflowStepStatus

MAX_BOXES = 300
"""So many boxes a diagram has at most: with more it cannot be read."""

MAX_EDGES = 500
"""So many edges it has at most: Mermaid draws no more unless its page is told to."""

_STYLES = {
    WorkflowStepStatus.BLOCKED: "fill:#f3f4f6,stroke:#9ca3af,color:#374151",
    WorkflowStepStatus.WAITING_FOR_EXTERNAL: "fill:#fef08a,stroke:#a16207,color:#422006,stroke-width:3px",
    WorkflowStepStatus.ENQUEUED: "fill:#e0e7ff,stroke:#4f46e5,color:#1e1b4b",
    WorkflowStepStatus.RUNNING: "fill:#cffafe,stroke:#0891b2,color:#083344",
    WorkflowStepStatus.SUCCEEDED: "fill:#dcfce7,stroke:#16a34a,color:#052e16",
    WorkflowStepStatus.FAILED: "fill:#fee2e2,stroke:#dc2626,color:#450a0a",
    WorkflowStepStatus.CANCELED: "fill:#fae8ff,stroke:#a21caf,color:#4a044e",
}
# What would end a label, or be read as an entity, a tag, a directive, a formula, an icon or Markdown. Mermaid does not
# even draw labels that are a list or a link, so their marks are among them. Those within words, as in send_mail and
# step-1, mean nothing to Markdown and stay readable.
_ESCAPED = re.compile(
    r"""[#"<>&`\\*~$%@\[\]] | (?<![^\W_])_ | _(?![^\W_]) | :(?=fa-|//) | (?<=www)\. | ^\s*(?:[-+]|\d+[.)])(?=\s|-|$)""",
    re.VERBOSE,
)


def diagram_lines(groups: Sequence[StepGroup]) -> list[str]:
    """Return the flowchart: a class for each status, gates as hexagons, edges that any end satisfies dotted."""
    lines = ["flowchart TD"]
    for number, group in enumerate(groups):
        label = f'"{_escaped(group.name)}"'
        box = f"{{{{{label}}}}}" if group.is_gate else f"[{label}]"
        lines.append(f"    s{number}{box}:::{group.status}")
    for number, group in enumerate(groups):
        for prerequisite, mode in group.prerequisites.items():
            arrow = "-.->" if mode is WorkflowDependencyReleaseMode.ON_TERMINAL else "-->"
            lines.append(f"    s{prerequisite} {arrow} s{number}")
    statuses = {group.status for group in groups}
    return lines + [f"    classDef {status} {style}" for status, style in _STYLES.items() if status in statuses]


def _escaped(name: str) -> str:
    return _ESCAPED.sub(lambda found: "".join(f"#{ord(character)};" for character in found[0]), name)
