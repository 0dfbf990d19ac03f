"""The steps of a run as lines of a tree.

What comes after one step alone is its branch, or goes on below it; what comes after several goes on below the step
where their ways parted, and says what it waits for::

    discover          SUCCEEDED
    ├─ build-web      SUCCEEDED
    └─ build-worker   RUNNING
    approve           BLOCKED    gate; after build-web, build-worker
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from runledger.cli.step_groups import StepGroup
from runledger.cli.times import describe_duration
from runledger.core import WorkflowDependencyReleaseMode, WorkflowStepStatus
from runledger.core.printable import shortened

_BRANCH, _LAST_BRANCH, _BAR, _NO_BAR = "├─ ", "└─ ", "│  ", "   "
_MAX_INDENTATION = 12
_MAX_NAMES = 3
_WIDEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A line of the tree.

    Attributes:
        text: What to print.
        status: Where the steps of the line stand; for its colour.
    """

    text: str
    status: WorkflowStepStatus


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a group stands in the tree: what is drawn before its name, and after which one it is understood to come."""

    prefix: str
    group: int
    after: int | None


def step_lines(groups: Sequence[StepGroup]) -> list[StepLine]:
    """Return a line for each group, in columns: name, status, what else there is to say."""
    places = _places(groups)
    names = [f"{place.prefix}{groups[place.group].name}" for place in places]
    name_width = min(max(map(len, names), default=0), _WIDEST_NAME)
    status_width = max((len(group.status) for group in groups), default=0)
    return [
        StepLine(
            text="  ".join(
                (
                    name.ljust(name_width),
                    groups[place.group].status.ljust(status_width),
                    _remark(groups, groups[place.group], place.after),
                )
            ).rstrip(),
            status=groups[place.group].status,
        )
        for name, place in zip(names, places, strict=True)
    ]


def _places(groups: Sequence[StepGroup]) -> list[_Place]:
    """Return the groups in the order of the lines."""
    children: dict[int | None, list[int]] = defaultdict(list)
    for group, parting in enumerate(_partings(groups)):
        children[parting].append(group)
    places: list[_Place] = []
    # Not recursive: a run may be a chain of thousands. What is to come, the next one last: what is drawn before it and
    # below it, the group, and the group whose branch it is.
    waiting: list[tuple[str, str, int, int | None]] = []

    def follow(parent: int | None, below: str) -> None:
        expected = [] if parent is None else [parent]
        branches = [child for child in children[parent] if list(groups[child].prerequisites) == expected]
        if len(branches) == 1 or len(below) >= _MAX_INDENTATION * len(_BAR):
            branches = []
        lines = [(f"{below}{_BRANCH}", f"{below}{_BAR}", child, parent) for child in branches]
        if lines:
            lines[-1] = (f"{below}{_LAST_BRANCH}", f"{below}{_NO_BAR}", branches[-1], parent)
        told = set(branches)
        lines += [(below, below, child, None) for child in children[parent] if child not in told]
        waiting.extend(reversed(lines))

    follow(None, "")
    while waiting:
        prefix, below, group, parent = waiting.pop()
        above = places[-1].group if places else None
        places.append(_Place(prefix, group, above if parent is None else parent))
        follow(group, below)
    return places


def _partings(groups: Sequence[StepGroup]) -> list[int | None]:
    """Return for each group the last one that every way to it leads through; ``None`` when there is none."""
    partings: list[int | None] = []
    depths: list[int] = []
    for group in groups:
        parting: int | None = None
        for position, prerequisite in enumerate(group.prerequisites):
            parting = prerequisite if position == 0 else _common(parting, prerequisite, partings, depths)
        partings.append(parting)
        depths.append(0 if parting is None else depths[parting] + 1)
    return partings


def _common(one: int | None, other: int | None, partings: list[int | None], depths: list[int]) -> int | None:
    while one != other:
        if one is None or other is None:
            return None
        if depths[one] >= depths[other]:
            one = partings[one]
        else:
            other = partings[other]
    return one


def _remark(groups: Sequence[StepGroup], group: StepGroup, understood: int | None) -> str:
    """Say what neither name nor place in the tree does."""
    step = group.steps[0]
    remarks = ["gate"] if group.is_gate else []
    if len(group.steps) == 1 and step.started_at is not None and step.finished_at is not None:
        remarks.append(describe_duration(step.finished_at - step.started_at))
    if step.status is WorkflowStepStatus.FAILED and step.last_error_code is not None and len(group.steps) == 1:
        remarks.append(shortened(step.last_error_code))
    if group.is_gate and step.status is WorkflowStepStatus.SUCCEEDED and step.status_reason and len(group.steps) == 1:
        remarks.append(shortened(step.status_reason))
    for mode, word in (
        (WorkflowDependencyReleaseMode.ON_SUCCESS, "after"),
        (WorkflowDependencyReleaseMode.ON_TERMINAL, "after the end of"),
    ):
        after = [number for number, wanted in group.prerequisites.items() if wanted is mode]
        is_understood = mode is WorkflowDependencyReleaseMode.ON_SUCCESS and list(group.prerequisites) == [understood]
        if after and not is_understood:
            names = [groups[number].name for number in after[:_MAX_NAMES]]
            more = len(after) - len(names)
            remarks.append(f"{word} {', '.join(names)}{f' and {more:,} more' if more else ''}")
    return "; ".join(remarks)
