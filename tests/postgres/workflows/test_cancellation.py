"""Cancel of a run: its steps, their jobs, and nothing that is released."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    Global,
    InvalidArgumentError,
    JobStatus,
    Organization,
    Scope,
    StepCounts,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.postgres import QueryError, QueryErrorCategory, jobs, workflows
from tests.postgres.job_queue import JOB_TYPE, WORKER
from tests.postgres.workflow_queue import CANCELED, FAILED, WorkflowQueue, diamond, failure_of, refused, workflow
from tests.races.session import Session

SHOP, DEPOT = UUID(int=1), UUID(int=2)


def in_every_status(queue: WorkflowQueue) -> UUID:
    """Return a run with a step in each status."""
    flow = workflow()
    succeeded, failed = flow.job("succeeded", JOB_TYPE), flow.job("failed", JOB_TYPE)
    flow.job("canceled", JOB_TYPE, after=failed)
    flow.job("enqueued", JOB_TYPE, after=succeeded)
    running = flow.job("running", JOB_TYPE)
    flow.job("report", JOB_TYPE, after_terminal=[running, failed])
    flow.job("needs", JOB_TYPE, after=[running, failed])
    flow.job("after_gate", JOB_TYPE, after_terminal=flow.gate("gate"))
    run_id = queue.start(flow)
    claimed = queue.claim_steps()
    queue.succeed(claimed["succeeded"])
    queue.dead_letter_now(claimed["failed"])
    assert sorted(set(queue.statuses(run_id).values())) == sorted(WorkflowStepStatus)
    return run_id


def test_every_step_that_has_not_ended_is_canceled_and_nothing_is_released(queue: WorkflowQueue) -> None:
    """WFC-001, WFC-002."""
    run_id = in_every_status(queue)
    job_count = queue.contents()["job_queue"][0]
    at = queue.clock() + timedelta(seconds=5)

    run = queue.cancel_run(run_id, reason="obsolete", error_code="order.void", error_message="by the customer", now=at)

    assert run == queue.workflow_run(run_id)
    assert (run.status, run.finished_at) == (WorkflowRunStatus.CANCELED, at)
    assert run.step_counts == StepCounts(total=9, active=0, waiting=0, unsuccessful=8)
    steps = queue.steps(run_id)
    assert steps["succeeded"].status is WorkflowStepStatus.SUCCEEDED
    assert steps["failed"].status is WorkflowStepStatus.FAILED
    assert steps["canceled"].status_reason == "workflow.dependency_unsatisfied"
    for key in ("enqueued", "running", "report", "needs", "gate", "after_gate"):
        step = steps[key]
        assert (step.status, step.status_reason, step.finished_at) == (CANCELED, "obsolete", at)
        assert (step.last_error_code, step.last_error_message) == ("order.void", "by the customer")
    assert queue.contents()["job_queue"][0] == job_count
    assert queue.claim() == []


def test_counters_end_as_the_edges_say(queue: WorkflowQueue) -> None:
    """WFC-001."""
    run_id = in_every_status(queue)

    queue.cancel_run(run_id)

    assert queue.counters(run_id) == {
        "succeeded": (0, 0),
        "failed": (0, 0),
        "canceled": (0, 1),
        "enqueued": (0, 0),
        "running": (0, 0),
        "report": (0, 0),
        "needs": (0, 2),
        "gate": (0, 0),
        "after_gate": (0, 0),
    }


def test_jobs_of_open_steps_are_canceled_with_their_events_and_attempts(queue: WorkflowQueue) -> None:
    """WFC-003. Those that have ended stay as they are."""
    run_id = in_every_status(queue)
    ended = [queue.job_of(run_id, key) for key in ("succeeded", "failed")]
    held = queue.job_of(run_id, "running")

    queue.cancel_run(run_id, reason="obsolete")

    assert [queue.job_of(run_id, key) for key in ("succeeded", "failed")] == ended
    for key, attempt in (("enqueued", None), ("running", 1)):
        canceled = queue.job_of(run_id, key)
        assert (canceled.status, canceled.status_reason) == (JobStatus.CANCELED, "obsolete")
        assert (canceled.worker_id, canceled.lease_expires_at) == (None, None)
        event = queue.events(canceled.id)[-1]
        assert (event.event_type, event.attempt, event.payload) == ("CANCELED", attempt, {"reason": "obsolete"})
    assert queue.job_of(run_id, "running").canceled_lease_expires_at == held.lease_expires_at
    (attempt,) = queue.attempts(held.id)
    assert (attempt.finished_at, attempt.outcome) == (queue.job(held.id).finished_at, None)


def test_without_a_reason_it_is_canceled(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    queue.cancel_run(run_id)

    assert {step.status_reason for step in queue.steps(run_id).values()} == {"CANCELED"}


def test_the_holder_of_a_canceled_job_has_lost_its_lease(queue: WorkflowQueue) -> None:
    """WFC-003."""
    run_id = queue.start(diamond())
    claimed = queue.claim_one()
    queue.cancel_run(run_id)
    before = queue.contents()

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        queue.succeed(claimed)
    assert queue.run(jobs.fail_jobs(WORKER, [failure_of(claimed)])) == {}
    assert queue.run(jobs.read_canceled_leases(WORKER, [claimed.lease])) == {claimed.job_id}

    assert queue.contents() == before


def ended_run(queue: WorkflowQueue, end: WorkflowRunStatus) -> UUID:
    flow = workflow()
    flow.gate("gate")
    run_id = queue.start(flow)
    match end:
        case WorkflowRunStatus.SUCCEEDED:
            queue.complete(run_id, "gate")
        case WorkflowRunStatus.COMPLETED_WITH_ERRORS:
            queue.complete(run_id, "gate", FAILED)
        case _:
            queue.cancel_run(run_id)
    return run_id


@pytest.mark.parametrize("end", [status for status in WorkflowRunStatus if status.is_terminal])
def test_a_run_that_has_ended_is_returned_as_it_is(queue: WorkflowQueue, end: WorkflowRunStatus) -> None:
    """WFC-004, WFC-005. As in the original from 0.4 on, a success is not turned into a cancel."""
    run_id = ended_run(queue, end)
    before = queue.contents()

    run = queue.cancel_run(run_id, reason="too late")

    assert (run.id, run.status) == (run_id, end)
    assert queue.contents() == before


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_no_run_is_canceled(queue: WorkflowQueue, first: Session, level: str) -> None:
    """WFC-006."""
    run_id = queue.start(diamond())
    before = queue.contents()
    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    with refused("workflow.cancel_unsupported_isolation"):
        first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))
    first.commit()

    assert queue.contents() == before


def test_an_unknown_run_is_not_found(queue: WorkflowQueue) -> None:
    """WFC-014."""
    with refused("workflow.run_not_found"):
        queue.cancel_run(uuid4())


@pytest.mark.parametrize(
    ("owner", "scope"),
    [(SHOP, Organization(DEPOT)), (SHOP, Global()), (None, Organization(SHOP)), (SHOP, Organization(UUID(int=0)))],
)
def test_a_run_outside_the_scope_is_not_found_and_not_touched(
    queue: WorkflowQueue, owner: UUID | None, scope: Scope
) -> None:
    """WFC-014."""
    flow = workflow(organization_id=owner)
    flow.gate("gate")
    run_id = queue.start(flow)
    before = queue.contents()

    with refused("workflow.run_not_found"):
        queue.run(workflows.cancel_workflow_run(run_id, scope=scope))

    assert queue.contents() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE workflow_steps SET job_id = NULL WHERE step_key = 'a'",
        "UPDATE job_queue SET status = 'SUCCEEDED', worker_id = NULL, lease_expires_at = NULL",
        "DELETE FROM job_queue",
    ],
    ids=["no job", "job ended", "job deleted"],
)
def test_a_running_step_without_a_job_to_cancel_stops_the_cancel(
    queue: WorkflowQueue, first: Session, statement: str
) -> None:
    """WFC-015."""
    run_id = queue.start(diamond())
    queue.claim_one()
    queue.sql("SET session_replication_role = replica")
    queue.sql(statement)
    before = queue.contents()

    with refused("workflow.internal_state", QueryErrorCategory.INTERNAL):
        first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))
    first.commit()

    assert queue.contents() == before


def test_a_cancel_commits_and_goes_with_the_transaction_of_the_caller(queue: WorkflowQueue, first: Session) -> None:
    run_id = queue.start(diamond())
    before = queue.contents()

    first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))
    first.rollback()
    assert queue.contents() == before
    first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))
    first.commit()

    assert set(queue.statuses(run_id).values()) == {"CANCELED"}


@pytest.mark.parametrize("reason", ["", "  ", "a\0b", 7])
def test_a_reason_that_says_nothing_or_cannot_be_stored_is_refused(queue: WorkflowQueue, reason: Any) -> None:
    run_id = queue.start(diamond())

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "reason"):
        queue.cancel_run(run_id, reason=reason)


def test_a_message_is_cleaned_and_cut_to_what_can_be_stored(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    queue.cancel_run(run_id, error_message="\0" + "x" * 20_000)

    message = queue.steps(run_id)["a"].last_error_message
    assert message is not None
    assert len(message) <= 8_192
    assert "\0" not in message


def test_other_runs_go_on(queue: WorkflowQueue) -> None:
    run_id, other = queue.start(diamond()), queue.start(diamond())
    before = queue.steps(other), queue.workflow_run(other)

    queue.cancel_run(run_id)

    assert (queue.steps(other), queue.workflow_run(other)) == before
