"""What the status of a run is, given how many of its steps are where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from runledger.core.workflows.status import WorkflowRunStatus, WorkflowStepStatus

_ACTIVE = frozenset({WorkflowStepStatus.BLOCKED, WorkflowStepStatus.ENQUEUED, WorkflowStepStatus.RUNNING})
_UNSUCCESSFUL = frozenset({WorkflowStepStatus.FAILED, WorkflowStepStatus.CANCELED})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """How many steps of a run are where. A run keeps these numbers, so that no end of a step has to count the others.

    Attributes:
        total: How many steps there are.
        active: BLOCKED, ENQUEUED or RUNNING.
        waiting: How many are WAITING_FOR_EXTERNAL.
        unsuccessful: FAILED or CANCELED.
    """

    total: int
    active: int
    waiting: int
    unsuccessful: int

    @classmethod
    def of(cls, statuses: Iterable[WorkflowStepStatus]) -> Self:
        """Count steps by their status."""
        total = active = waiting = unsuccessful = 0
        for status in statuses:
            total += 1
            active += status in _ACTIVE
            waiting += status is WorkflowStepStatus.WAITING_FOR_EXTERNAL
            unsuccessful += status in _UNSUCCESSFUL
        return cls(total=total, active=active, waiting=waiting, unsuccessful=unsuccessful)


def run_status_of(counts: StepCounts) -> WorkflowRunStatus:
    """Return the status of a run that was not canceled."""
    if counts.active:
        return WorkflowRunStatus.RUNNING
    if counts.waiting:
        return WorkflowRunStatus.WAITING_FOR_EXTERNAL
    if counts.unsuccessful:
        return WorkflowRunStatus.COMPLETED_WITH_ERRORS
    return WorkflowRunStatus.SUCCEEDED
