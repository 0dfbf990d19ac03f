"""Gates: who may complete them, when, and what that moves."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    CompletedGate,
    Global,
    InvalidArgumentError,
    Organization,
    Scope,
    WorkflowRunStatus,
    WorkflowStepRecord,
    WorkflowStepStatus,
)
from runledger.postgres import QueryError, workflows
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import CANCELED, FAILED, SUCCEEDED, WorkflowQueue, refused, workflow
from tests.races.session import Session

SHOP, DEPOT = UUID(int=1), UUID(int=2)

ENDS = pytest.mark.parametrize("status", [SUCCEEDED, FAILED, CANCELED])


def gated(queue: WorkflowQueue, organization_id: UUID | None = None) -> UUID:
    """Return a run with a gate, what waits for it in both modes, and a gate that waits itself."""
    flow = workflow(organization_id=organization_id)
    approve = flow.gate("approve", {"limit": 5})
    flow.job("needs", JOB_TYPE, after=approve)
    report = flow.job("report", JOB_TYPE, after_terminal=approve)
    flow.gate("blocked", after=report)
    return queue.start(flow)


def completed(step: WorkflowStepRecord, *, was_completed_already: bool) -> CompletedGate:
    members = {field.name: getattr(step, field.name) for field in fields(step)}
    return CompletedGate(**members, was_completed_already=was_completed_already)


def test_a_gate_that_succeeds_releases_what_waits(queue: WorkflowQueue) -> None:
    """WFX-001."""
    run_id = gated(queue)
    at = queue.clock() + timedelta(seconds=5)

    complete = workflows.complete_external_workflow_step(
        run_id, "approve", scope=Admin(), output={"by": "me"}, reason="signed", now=at
    )
    step = queue.run(complete)

    assert step == completed(queue.steps(run_id)["approve"], was_completed_already=False)
    assert (step.status, step.status_reason, step.finished_at) == (SUCCEEDED, "signed", at)
    assert (step.output, step.payload) == ({"by": "me"}, {"limit": 5})
    assert queue.statuses(run_id) == {
        "approve": "SUCCEEDED",
        "needs": "ENQUEUED",
        "report": "ENQUEUED",
        "blocked": "BLOCKED",
    }
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING


@pytest.mark.parametrize("status", [FAILED, CANCELED])
def test_a_gate_without_success_cancels_what_needs_it_and_releases_the_rest(
    queue: WorkflowQueue, status: WorkflowStepStatus
) -> None:
    """WFX-002."""
    run_id = gated(queue)

    queue.complete(run_id, "approve", status, error_code="approval.denied", error_message="too much\0")

    step = queue.steps(run_id)["approve"]
    assert (step.status, step.last_error_code) == (status, "approval.denied")
    assert step.last_error_message is not None
    assert "\0" not in step.last_error_message
    assert queue.statuses(run_id) == {
        "approve": status.value,
        "needs": "CANCELED",
        "report": "ENQUEUED",
        "blocked": "BLOCKED",
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (SUCCEEDED, WorkflowRunStatus.SUCCEEDED),
        (FAILED, WorkflowRunStatus.COMPLETED_WITH_ERRORS),
        (CANCELED, WorkflowRunStatus.COMPLETED_WITH_ERRORS),
    ],
)
def test_the_last_gate_ends_the_run(
    queue: WorkflowQueue, status: WorkflowStepStatus, outcome: WorkflowRunStatus
) -> None:
    """WFP-009, WFP-010."""
    flow = workflow()
    flow.gate("approve")
    run_id = queue.start(flow)

    queue.complete(run_id, "approve", status)

    run = queue.workflow_run(run_id)
    assert (run.status, run.finished_at) == (outcome, run.updated_at)


@ENDS
def test_the_same_completion_again_changes_nothing(queue: WorkflowQueue, status: WorkflowStepStatus) -> None:
    """WFX-003. Reason, error and output are not compared."""
    run_id = gated(queue)
    queue.complete(run_id, "approve", status, reason="first")
    before = queue.contents()

    again = workflows.complete_external_workflow_step(
        run_id, "approve", scope=Admin(), status=status, reason="second", error_code="other", output=7
    )
    step = queue.run(again)

    assert step == completed(queue.steps(run_id)["approve"], was_completed_already=True)
    assert step.status_reason == "first"
    assert queue.contents() == before


@ENDS
def test_another_completion_is_refused(queue: WorkflowQueue, status: WorkflowStepStatus) -> None:
    """WFX-004. Also of a gate that was canceled with its run."""
    run_id = gated(queue)
    if status is CANCELED:
        queue.cancel_run(run_id)
    else:
        queue.complete(run_id, "approve", status)
    before = queue.contents()

    with refused("workflow.external_step_conflicting_completion_retry"):
        queue.complete(run_id, "approve", FAILED if status is not FAILED else SUCCEEDED)

    assert queue.contents() == before


def test_the_refusal_says_who_ended_the_gate(queue: WorkflowQueue) -> None:
    """With the run, because of others, or by itself; the code is the same."""

    def refusal(run_id: UUID, step_key: str) -> str:
        with refused("workflow.external_step_conflicting_completion_retry") as raised:
            queue.complete(run_id, step_key)
        return raised.value.client_message

    canceled, denied = gated(queue), gated(queue)
    queue.cancel_run(canceled, reason="ordered twice")
    queue.complete(denied, "approve", FAILED)
    flow = workflow()
    flow.gate("second", after=flow.gate("first"))
    unsatisfied = queue.start(flow)
    queue.complete(unsatisfied, "first", CANCELED)

    assert refusal(canceled, "approve").startswith("the run was canceled")
    assert refusal(denied, "approve") == "the gate was completed as FAILED already"
    assert refusal(unsatisfied, "first") == "the gate was completed as CANCELED already"
    assert refusal(unsatisfied, "second").startswith("the gate was canceled, since the steps that it depends on ended")


def test_a_gate_whose_own_prerequisites_have_not_ended_is_not_waiting(queue: WorkflowQueue) -> None:
    """WFX-005."""
    run_id = gated(queue)

    with refused("workflow.external_step_not_waiting"):
        queue.complete(run_id, "blocked")

    assert queue.statuses(run_id)["blocked"] == "BLOCKED"


def test_a_step_with_a_job_is_no_gate(queue: WorkflowQueue) -> None:
    """WFX-006."""
    run_id = gated(queue)

    with refused("workflow.external_step_not_external"):
        queue.complete(run_id, "needs")


SCOPES: list[tuple[UUID | None, Scope, bool]] = [
    (SHOP, Organization(SHOP), True),
    (SHOP, Admin(), True),
    (None, Global(), True),
    (None, Admin(), True),
    (SHOP, Organization(DEPOT), False),
    (SHOP, Global(), False),
    (None, Organization(SHOP), False),
]


@pytest.mark.parametrize(("owner", "scope", "is_inside"), SCOPES)
def test_a_gate_outside_the_scope_does_not_exist(
    queue: WorkflowQueue, owner: UUID | None, scope: Scope, *, is_inside: bool
) -> None:
    """WFX-007."""
    run_id = gated(queue, owner)
    complete = workflows.complete_external_workflow_step(run_id, "approve", scope=scope)
    if is_inside:
        assert queue.run(complete).status is SUCCEEDED
        return
    before = queue.contents()

    with refused("workflow.external_step_not_found"):
        queue.run(complete)

    assert queue.contents() == before


def test_a_run_or_a_step_that_does_not_exist_is_not_found(queue: WorkflowQueue) -> None:
    """WFX-007."""
    run_id = gated(queue)

    with refused("workflow.external_step_not_found", says="there is no such workflow run"):
        queue.complete(uuid4(), "approve")
    with refused("workflow.external_step_not_found", says="the run has no step 'aprove'; `runledger workflow show`"):
        queue.complete(run_id, "aprove")


@pytest.mark.parametrize("status", [s for s in WorkflowStepStatus if not s.is_terminal] + ["SUCCEEDED", None])
def test_a_status_that_is_no_end_is_refused_before_the_database_is_asked(queue: WorkflowQueue, status: Any) -> None:
    """WFX-008. It comes before any other reason."""
    says = "FAILED or CANCELED" if isinstance(status, WorkflowStepStatus) else "pass WorkflowStepStatus.SUCCEEDED"
    with refused("workflow.external_step_invalid_terminal_status", says=says):
        queue.complete(uuid4(), "approve", status)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_no_gate_is_completed(queue: WorkflowQueue, first: Session, level: str) -> None:
    """WFX-011."""
    run_id = gated(queue)
    before = queue.contents()
    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    with refused("workflow.external_completion_unsupported_isolation"):
        first.run(workflows.complete_external_workflow_step(run_id, "approve", scope=Admin()))
    first.commit()

    assert queue.contents() == before


def test_a_completion_commits_and_goes_with_the_transaction_of_the_caller(queue: WorkflowQueue, first: Session) -> None:
    run_id = gated(queue)
    before = queue.contents()
    complete = workflows.complete_external_workflow_step(run_id, "approve", scope=Admin())

    first.run(complete)
    first.rollback()
    assert queue.contents() == before
    first.run(complete)
    first.commit()

    assert queue.statuses(run_id)["needs"] == "ENQUEUED"


def test_a_completion_that_cannot_release_leaves_nothing_behind(queue: WorkflowQueue, first: Session) -> None:
    run_id = gated(queue)
    queue.refuse("job_events", "NEW.event_type = 'ENQUEUED'")
    before = queue.contents()

    with pytest.raises(QueryError):
        first.run(workflows.complete_external_workflow_step(run_id, "approve", scope=Admin()))
    first.commit()

    assert queue.contents() == before


@pytest.mark.parametrize(("field", "key"), [("step_key", ""), ("step_key", "a\0b"), ("run_id", "approve")])
def test_arguments_that_cannot_be_meant_are_refused(queue: WorkflowQueue, field: str, key: str) -> None:
    run_id: Any = "1" if field == "run_id" else gated(queue)

    with pytest.raises(InvalidArgumentError):
        queue.complete(run_id, key)


def test_gates_one_after_another(queue: WorkflowQueue) -> None:
    flow = workflow()
    flow.gate("third", after=flow.gate("second", after=flow.gate("first")))
    run_id = queue.start(flow)
    for key in ("first", "second", "third"):
        assert queue.workflow_run(run_id).finished_at is None
        queue.complete(run_id, key)

    assert queue.workflow_run(run_id).status is WorkflowRunStatus.SUCCEEDED


@pytest.mark.parametrize("reason", ["", "  ", "a\0b", "lone\ud800", 5])
def test_a_reason_that_says_nothing_or_cannot_be_stored_is_refused(queue: WorkflowQueue, reason: Any) -> None:
    """As by the cancel of a run; an empty one was stored before."""
    flow = workflow()
    flow.gate("approve")
    run_id = queue.start(flow)
    before = queue.contents()

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "reason"):
        queue.complete(run_id, "approve", reason=reason)

    assert queue.contents() == before


@pytest.mark.parametrize("field", ["error_code", "error_message"])
@pytest.mark.parametrize("value", [5, b"refused"])
def test_a_code_or_message_that_is_no_text_is_refused_by_its_name(
    queue: WorkflowQueue, field: str, value: object
) -> None:
    flow = workflow()
    flow.gate("approve")
    run_id = queue.start(flow)
    before = queue.contents()
    fields: dict[str, Any] = {field: value}

    for change in (
        lambda: queue.complete(run_id, "approve", FAILED, **fields),
        lambda: queue.cancel_run(run_id, **fields),
    ):
        with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
            change()

    assert queue.contents() == before
