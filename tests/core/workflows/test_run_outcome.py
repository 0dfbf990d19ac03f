"""The status of a run follows from how many of its steps are where."""

from __future__ import annotations

import pytest

from runledger.core.workflows.run_outcome import StepCounts, run_status_of
from runledger.core.workflows.status import WorkflowRunStatus, WorkflowStepStatus

S = WorkflowStepStatus
R = WorkflowRunStatus


def test_every_status_is_counted_where_it_belongs() -> None:
    counts = StepCounts.of(WorkflowStepStatus)

    assert counts == StepCounts(total=7, active=3, waiting=1, unsuccessful=2)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([S.SUCCEEDED, S.SUCCEEDED], R.SUCCEEDED),
        ([S.SUCCEEDED, S.FAILED], R.COMPLETED_WITH_ERRORS),
        ([S.SUCCEEDED, S.CANCELED], R.COMPLETED_WITH_ERRORS),
        ([S.WAITING_FOR_EXTERNAL, S.FAILED], R.WAITING_FOR_EXTERNAL),
        ([S.WAITING_FOR_EXTERNAL, S.BLOCKED], R.RUNNING),
        ([S.WAITING_FOR_EXTERNAL, S.ENQUEUED], R.RUNNING),
        ([S.WAITING_FOR_EXTERNAL, S.RUNNING], R.RUNNING),
        ([S.FAILED, S.RUNNING], R.RUNNING),
    ],
)
def test_the_status_is_that_of_the_first_rule_that_applies(
    statuses: list[WorkflowStepStatus], expected: WorkflowRunStatus
) -> None:
    """WFE-009, WFP-009, WFP-010, WFP-011."""
    assert run_status_of(StepCounts.of(statuses)) is expected
