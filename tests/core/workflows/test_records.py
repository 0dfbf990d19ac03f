"""Records of workflows can be logged: their ``repr`` shows where things stand and nothing of what they hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from runledger.core import (
    StepCounts,
    WorkflowAppendOutcome,
    WorkflowAppendResult,
    WorkflowRunRecord,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepRecord,
    WorkflowStepStatus,
)

SECRET = "hunter2"
NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)

RUN = WorkflowRunRecord(
    id=UUID(int=1),
    workflow_type="order.fulfil",
    organization_id=None,
    status=WorkflowRunStatus.RUNNING,
    idempotency_key=SECRET,
    metadata={"token": SECRET},
    result_step_key="last",
    result={"token": SECRET},
    has_result=True,
    step_counts=StepCounts(total=1, active=1, waiting=0, unsuccessful=0),
    started_at=NOON,
    finished_at=None,
    created_at=NOON,
    updated_at=NOON,
)
STEP_FIELDS: dict[str, Any] = {
    "id": UUID(int=2),
    "workflow_run_id": UUID(int=1),
    "step_key": "charge",
    "execution_kind": WorkflowStepExecutionKind.JOB,
    "job_type": "email.send",
    "organization_id": None,
    "payload": {"token": SECRET},
    "priority": 1,
    "max_attempts": 1,
    "timeout_seconds": 1,
    "stage": "queued",
    "status": WorkflowStepStatus.FAILED,
    "job_id": None,
    "output": {"token": SECRET},
    "released_at": None,
    "started_at": None,
    "finished_at": None,
    "dependency_count_total": 0,
    "dependency_count_pending": 0,
    "dependency_count_unsatisfied": 0,
    "status_reason": "TERMINAL",
    "last_error_code": "card.declined",
    "last_error_message": f"the token was {SECRET}",
    "created_at": NOON,
    "updated_at": NOON,
}


def test_a_run_shows_neither_key_nor_metadata_nor_result() -> None:
    """WFE-026."""
    assert SECRET not in repr(RUN)
    assert "order.fulfil" in repr(RUN)
    assert "RUNNING" in repr(RUN)


def test_a_step_shows_neither_payload_nor_output_nor_message() -> None:
    step = WorkflowStepRecord(**STEP_FIELDS)

    assert SECRET not in repr(step)
    assert "card.declined" in repr(step)


def test_the_result_of_an_append_shows_no_more_than_what_is_in_it() -> None:
    step = WorkflowStepRecord(**STEP_FIELDS)

    assert SECRET not in repr(WorkflowAppendResult(outcome=WorkflowAppendOutcome.APPENDED, run=RUN, steps=(step,)))
