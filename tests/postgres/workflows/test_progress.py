"""What the end of a step moves, step by step."""

from __future__ import annotations

from runledger.core import WorkflowRunStatus
from tests.postgres.workflow_queue import WorkflowQueue, diamond, workflow


def test_a_diamond_goes_through_step_by_step(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    assert queue.statuses(run_id) == {"a": "ENQUEUED", "b": "BLOCKED", "c": "BLOCKED", "d": "BLOCKED"}
    assert queue.counters(run_id) == {"a": (0, 0), "b": (1, 0), "c": (1, 0), "d": (2, 0)}

    claimed = queue.claim_steps()
    assert queue.statuses(run_id)["a"] == "RUNNING"
    queue.succeed(claimed["a"], '{"found":1}')
    assert queue.statuses(run_id) == {"a": "SUCCEEDED", "b": "ENQUEUED", "c": "ENQUEUED", "d": "BLOCKED"}

    claimed = queue.claim_steps()
    queue.succeed_all(claimed.values())
    assert queue.statuses(run_id)["d"] == "ENQUEUED"
    queue.succeed(queue.claim_steps()["d"])

    run = queue.workflow_run(run_id)
    assert run.status is WorkflowRunStatus.SUCCEEDED
    assert run.finished_at is not None


def test_a_failed_branch_cancels_what_needs_it(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    queue.succeed(queue.claim_steps()["a"])
    claimed = queue.claim_steps()
    queue.dead_letter_now(claimed["b"])
    assert queue.counters(run_id)["d"] == (1, 1)
    queue.succeed(claimed["c"])
    step = queue.steps(run_id)["d"]
    assert step.status.value == "CANCELED"
    assert step.last_error_code == "workflow.dependency_unsatisfied"
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS


def test_a_cascade_goes_down_a_chain(queue: WorkflowQueue) -> None:
    flow = workflow()
    last = flow.job("s0", "email.send")
    for n in range(1, 6):
        last = flow.job(f"s{n}", "email.send", after=last)
    flow.job("report", "email.send", after_terminal=last)
    run_id = queue.start(flow)
    queue.dead_letter_now(queue.claim_steps()["s0"])
    assert queue.statuses(run_id) == {
        "s0": "FAILED",
        **{f"s{n}": "CANCELED" for n in range(1, 6)},
        "report": "ENQUEUED",
    }
    queue.succeed(queue.claim_steps()["report"])
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS
