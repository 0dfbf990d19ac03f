"""The payload of a step is changed with that of its job, as long as nobody has the job."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import Admin, Global, InvalidArgumentError, Organization, Scope
from runledger.postgres import jobs, workflows
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WorkflowQueue, diamond, failure_of, refused, workflow
from tests.races.session import Session

SHOP, DEPOT = UUID(int=1), UUID(int=2)
NEW = {"n": 2}


def edit(queue: WorkflowQueue, run_id: UUID, step_key: str, payload: Any = NEW, scope: Scope | None = None) -> bool:
    return queue.run(
        workflows.update_workflow_step_and_pending_job_payload(run_id, step_key, payload, scope=scope or Admin())
    )


def test_a_pending_job_gets_the_payload_with_its_step(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    assert edit(queue, run_id, "a")

    assert queue.steps(run_id)["a"].payload == NEW
    assert queue.claim_one().payload == NEW


def test_a_blocked_step_hands_the_payload_to_the_job_that_it_gets(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    assert edit(queue, run_id, "b")

    queue.succeed(queue.claim_steps()["a"])
    assert queue.claim_steps()["b"].payload == NEW


def test_null_is_a_payload(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    assert edit(queue, run_id, "a", None)

    assert queue.steps(run_id)["a"].payload is None
    assert queue.claim_one().payload is None


def test_a_gate_that_waits_is_changed(queue: WorkflowQueue) -> None:
    flow = workflow()
    flow.gate("gate")
    run_id = queue.start(flow)

    assert edit(queue, run_id, "gate")

    assert queue.steps(run_id)["gate"].payload == NEW


def test_a_job_that_waits_for_its_next_attempt_is_changed(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    queue.run(jobs.fail_job(failure_of(queue.claim_one())))

    assert edit(queue, run_id, "a")

    assert queue.claim_one().payload == NEW


@pytest.mark.parametrize("past", ["claimed", "succeeded", "failed", "canceled"])
def test_a_step_whose_job_is_past_pending_is_not_changed(queue: WorkflowQueue, past: str) -> None:
    run_id = queue.start(diamond())
    claimed = queue.claim_one()
    match past:
        case "succeeded":
            queue.succeed(claimed)
        case "failed":
            queue.dead_letter_now(claimed)
        case "canceled":
            queue.cancel_run(run_id)
        case _:
            pass
    before = queue.contents()

    assert not edit(queue, run_id, "a")

    assert queue.contents() == before


def test_a_step_that_ended_without_a_job_is_not_changed(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    queue.cancel_run(run_id)
    before = queue.contents()

    assert not edit(queue, run_id, "d")

    assert queue.contents() == before


@pytest.mark.parametrize(
    ("owner", "scope"), [(SHOP, Organization(DEPOT)), (SHOP, Global()), (None, Organization(SHOP))]
)
def test_a_run_outside_the_scope_is_not_changed(queue: WorkflowQueue, owner: UUID | None, scope: Scope) -> None:
    flow = workflow(organization_id=owner)
    flow.job("a", JOB_TYPE)
    run_id = queue.start(flow)
    before = queue.contents()

    assert not edit(queue, run_id, "a", scope=scope)
    with refused("workflow.run_not_found"):
        queue.run(workflows.list_workflow_step_keys_for_update(run_id, scope=scope))

    assert queue.contents() == before


def test_what_does_not_exist_is_not_changed(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    assert not edit(queue, uuid4(), "a")
    assert not edit(queue, run_id, "nothing")
    with refused("workflow.run_not_found"):
        queue.run(workflows.list_workflow_step_keys_for_update(uuid4(), scope=Admin()))


@pytest.mark.parametrize(
    ("step_key", "payload"), [("", NEW), ("a\0", NEW), ("a", {"n": float("nan")}), ("a", object())]
)
def test_what_cannot_be_stored_is_refused(queue: WorkflowQueue, step_key: str, payload: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        edit(queue, queue.start(diamond()), step_key, payload)


def test_step_keys_are_listed_in_the_order_of_the_request_and_the_run_is_locked(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    run_id = queue.start(diamond())
    claimed = queue.claim_one()

    keys = first.run(workflows.list_workflow_step_keys_for_update(run_id, scope=Admin()))
    waiting = second.begin(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)), queue)
    first.commit()
    waiting.result()

    assert keys == ["a", "b", "c", "d"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_nothing_is_changed_or_locked(queue: WorkflowQueue, first: Session, level: str) -> None:
    run_id = queue.start(diamond())

    for operation in (
        workflows.update_workflow_step_and_pending_job_payload(run_id, "a", NEW, scope=Admin()),
        workflows.list_workflow_step_keys_for_update(run_id, scope=Admin()),
    ):
        first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with refused("workflow.append_unsupported_isolation"):
            first.run(operation)
        first.rollback()


def test_an_edit_goes_with_the_transaction_of_the_caller(queue: WorkflowQueue, first: Session) -> None:
    run_id = queue.start(diamond())
    before = queue.contents()

    assert first.run(workflows.update_workflow_step_and_pending_job_payload(run_id, "a", NEW, scope=Admin()))
    first.rollback()

    assert queue.contents() == before
