"""What the end of a step moves: counters, releases, cancellations, and the status of the run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    JobFailureKind,
    JobStatus,
    StepCounts,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.postgres import Operation, QueryError, QueryErrorCategory, jobs, run, run_sync, workflows
from runledger.postgres.workflows.advance import MAX_RUNS
from tests.postgres.job_queue import JOB_TYPE, WORKER
from tests.postgres.workflow_queue import CANCELED, FAILED, WorkflowQueue, diamond, failure_of, refused, workflow
from tests.races.session import Session

UNSATISFIED = "workflow.dependency_unsatisfied"
INTERNAL = "workflow.internal_state"


def test_a_diamond_goes_through_step_by_step(queue: WorkflowQueue) -> None:
    """WFP-001, WFP-002, WFP-009."""
    run_id = queue.start(diamond())
    assert queue.statuses(run_id) == {"a": "ENQUEUED", "b": "BLOCKED", "c": "BLOCKED", "d": "BLOCKED"}
    assert queue.counters(run_id) == {"a": (0, 0), "b": (1, 0), "c": (1, 0), "d": (2, 0)}

    queue.succeed(queue.claim_steps()["a"])
    assert queue.statuses(run_id) == {"a": "SUCCEEDED", "b": "ENQUEUED", "c": "ENQUEUED", "d": "BLOCKED"}
    assert queue.counters(run_id) == {"a": (0, 0), "b": (0, 0), "c": (0, 0), "d": (2, 0)}
    released = queue.job_of(run_id, "b")
    assert (released.status, released.payload, released.stage) == (JobStatus.PENDING, {"step": "b"}, "queued")
    assert queue.event_types(released.id) == ["ENQUEUED"]

    claimed = queue.claim_steps()
    queue.succeed(claimed["b"])
    assert queue.statuses(run_id)["d"] == "BLOCKED"
    assert queue.counters(run_id)["d"] == (1, 0)
    queue.succeed(claimed["c"])
    assert queue.statuses(run_id)["d"] == "ENQUEUED"
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING
    queue.succeed(queue.claim_steps()["d"])

    run = queue.workflow_run(run_id)
    assert (run.status, run.finished_at) == (WorkflowRunStatus.SUCCEEDED, run.updated_at)
    assert run.step_counts == StepCounts(total=4, active=0, waiting=0, unsuccessful=0)


def test_the_branches_of_a_diamond_may_end_in_one_batch(queue: WorkflowQueue) -> None:
    """WFP-002."""
    run_id = queue.start(diamond())
    queue.succeed(queue.claim_steps()["a"])

    assert len(queue.succeed_all(queue.claim_steps().values())) == 2

    assert queue.statuses(run_id)["d"] == "ENQUEUED"
    assert queue.sql("SELECT count(*) FROM job_queue WHERE status = 'PENDING'") == [(1,)]


def test_a_step_that_ends_well_says_so(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    claimed = queue.claim_steps()["a"]
    queue.run(jobs.fail_job(failure_of(claimed)))
    queue.succeed(queue.claim_steps()["a"], '{"found": 1}')

    step = queue.steps(run_id)["a"]
    assert (step.status, step.status_reason, step.output) == (WorkflowStepStatus.SUCCEEDED, "SUCCEEDED", {"found": 1})
    assert (step.last_error_code, step.last_error_message) == (None, None)
    assert step.finished_at is not None


def test_a_failed_branch_cancels_what_needs_it_once_the_other_has_ended(queue: WorkflowQueue) -> None:
    """WFP-004, WFP-005, WFP-008, WFP-010, WFP-014."""
    run_id = queue.start(diamond())
    queue.succeed(queue.claim_steps()["a"])
    claimed = queue.claim_steps()
    queue.dead_letter_now(claimed["b"])

    failed = queue.steps(run_id)["b"]
    assert (failed.status, failed.status_reason) == (WorkflowStepStatus.FAILED, "TERMINAL")
    assert (failed.last_error_code, failed.last_error_message) == ("smtp.busy", "try later")
    assert failed.finished_at is not None
    assert (queue.statuses(run_id)["d"], queue.counters(run_id)["d"]) == ("BLOCKED", (1, 1))
    assert queue.statuses(run_id)["c"] == "RUNNING"
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING

    queue.succeed(claimed["c"])
    canceled = queue.steps(run_id)["d"]
    assert (canceled.status, canceled.status_reason) == (WorkflowStepStatus.CANCELED, UNSATISFIED)
    assert canceled.last_error_code == UNSATISFIED
    assert canceled.last_error_message
    assert (canceled.job_id, canceled.released_at) == (None, None)
    assert canceled.finished_at is not None
    run = queue.workflow_run(run_id)
    assert run.status is WorkflowRunStatus.COMPLETED_WITH_ERRORS
    assert run.finished_at is not None
    assert run.step_counts == StepCounts(total=4, active=0, waiting=0, unsuccessful=2)


def test_with_on_terminal_the_last_step_of_the_diamond_is_released(queue: WorkflowQueue) -> None:
    """WFP-003, WFP-010."""
    run_id = queue.start(diamond(on_terminal=[("d", "b")]))
    queue.succeed(queue.claim_steps()["a"])
    claimed = queue.claim_steps()
    queue.dead_letter_now(claimed["b"])
    queue.succeed(claimed["c"])

    assert (queue.statuses(run_id)["d"], queue.counters(run_id)["d"]) == ("ENQUEUED", (0, 0))
    queue.succeed(queue.claim_steps()["d"])
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS


def test_a_cascade_goes_down_a_chain_and_releases_what_waits_for_any_end(queue: WorkflowQueue) -> None:
    """WFP-006, WFP-007."""
    flow = workflow()
    last = flow.job("s0", JOB_TYPE)
    for n in range(1, 6):
        last = flow.job(f"s{n}", JOB_TYPE, after=last)
    flow.job("report", JOB_TYPE, after_terminal=last)
    flow.gate("decide", after_terminal=last)
    run_id = queue.start(flow)

    queue.dead_letter_now(queue.claim_steps()["s0"])

    assert queue.statuses(run_id) == {
        "s0": "FAILED",
        **{f"s{n}": "CANCELED" for n in range(1, 6)},
        "report": "ENQUEUED",
        "decide": "WAITING_FOR_EXTERNAL",
    }
    queue.succeed(queue.claim_steps()["report"])
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.WAITING_FOR_EXTERNAL
    queue.complete(run_id, "decide")
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS


def test_one_step_that_two_levels_of_a_cascade_reach_counts_both(queue: WorkflowQueue) -> None:
    """WFP-005, WFP-006. It waits for the failed step, and for one that is canceled because of it."""
    flow = workflow()
    a = flow.job("a", JOB_TYPE)
    b = flow.job("b", JOB_TYPE, after=a)
    flow.job("needs", JOB_TYPE, after=[a, b])
    flow.job("report", JOB_TYPE, after_terminal=[a, b])
    run_id = queue.start(flow)

    queue.dead_letter_now(queue.claim_steps()["a"])

    assert queue.statuses(run_id) == {"a": "FAILED", "b": "CANCELED", "needs": "CANCELED", "report": "ENQUEUED"}
    assert queue.counters(run_id) == {"a": (0, 0), "b": (0, 1), "needs": (0, 2), "report": (0, 0)}


def test_a_cascade_cancels_gates_too(queue: WorkflowQueue) -> None:
    """WFP-004, WFX-002."""
    flow = workflow()
    flow.job("after", JOB_TYPE, after=flow.gate("approve", after=flow.job("a", JOB_TYPE)))
    run_id = queue.start(flow)

    queue.dead_letter_now(queue.claim_steps()["a"])

    assert queue.statuses(run_id) == {"a": "FAILED", "approve": "CANCELED", "after": "CANCELED"}
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS


def test_a_run_waits_for_its_gates_only_when_nothing_else_is_to_come(queue: WorkflowQueue) -> None:
    """WFP-011, WFE-009."""
    flow = workflow()
    flow.gate("approve")
    flow.job("a", JOB_TYPE)
    run_id = queue.start(flow)
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING

    claimed = queue.claim_steps()["a"]
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING
    queue.succeed(claimed)

    run = queue.workflow_run(run_id)
    assert (run.status, run.finished_at) == (WorkflowRunStatus.WAITING_FOR_EXTERNAL, None)


def test_a_canceled_job_cancels_its_step_and_what_waits_goes_on(queue: WorkflowQueue) -> None:
    """WFP-015. The run is not canceled with it."""
    flow = workflow()
    a = flow.job("a", JOB_TYPE)
    flow.job("needs", JOB_TYPE, after=a)
    flow.job("report", JOB_TYPE, after_terminal=a)
    run_id = queue.start(flow)

    queue.run(jobs.cancel_job(queue.job_of(run_id, "a").id, scope=Admin(), reason="obsolete"))

    assert queue.statuses(run_id) == {"a": "CANCELED", "needs": "CANCELED", "report": "ENQUEUED"}
    assert queue.steps(run_id)["a"].status_reason == "obsolete"
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING


@pytest.mark.parametrize("kind", [JobFailureKind.TERMINAL, JobFailureKind.PANICKED])
def test_a_dead_letter_fails_its_step_with_kind_code_and_message(queue: WorkflowQueue, kind: JobFailureKind) -> None:
    """WFP-014. In a batch, too."""
    run_id = queue.start(diamond())
    claimed = queue.claim_steps()["a"]

    assert queue.run(jobs.fail_jobs(WORKER, [failure_of(claimed, kind)])) == {claimed.job_id: True}

    step = queue.steps(run_id)["a"]
    assert (step.status, step.status_reason) == (WorkflowStepStatus.FAILED, kind.value)
    assert (step.last_error_code, step.last_error_message) == ("smtp.busy", "try later")
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS


def test_many_runs_advance_in_one_batch(queue: WorkflowQueue) -> None:
    """More than one transaction of 64 runs, and a plain job besides."""
    run_ids = [queue.start(diamond()) for _ in range(70)]
    plain = queue.enqueue("plain")
    claimed = queue.claim(limit=200)

    assert queue.succeed_all(claimed) == {job.job_id for job in claimed}

    assert queue.job(plain).status is JobStatus.SUCCEEDED
    assert queue.sql("SELECT status::text, count(*) FROM workflow_steps GROUP BY 1 ORDER BY 1") == [
        ("BLOCKED", 70),
        ("ENQUEUED", 140),
        ("SUCCEEDED", 70),
    ]
    assert {queue.workflow_run(run_id).step_counts.active for run_id in run_ids} == {3}


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_no_job_of_a_workflow_ends(queue: WorkflowQueue, first: Session, level: str) -> None:
    """WFP-016, WFP-017. The caller may commit, and nothing has changed."""
    queue.start(diamond())
    claimed = queue.claim_steps()["a"]
    plain = queue.enqueue_and_claim()
    before = queue.contents()
    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    for operation in (
        jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)),
        jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)),
        jobs.cancel_job(claimed.job_id, scope=Admin()),
        jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claimed.lease)]),
    ):
        with refused("workflow.terminal_completion_unsupported_isolation"):
            first.run(operation)
    first.commit()
    assert queue.contents() == before
    assert queue.job(claimed.job_id).status is JobStatus.LEASED

    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
    first.run(jobs.complete_job(jobs.JobSuccess(lease=plain.lease)))
    first.run(jobs.fail_job(failure_of(claimed)))
    first.commit()
    assert queue.job(plain.job_id).status is JobStatus.SUCCEEDED
    assert queue.job(claimed.job_id).status is JobStatus.PENDING, "a retry ends no step"


def success_of(claimed: ClaimedJob) -> jobs.JobSuccess:
    return jobs.JobSuccess(lease=claimed.lease, workflow_run_id=claimed.workflow_run_id)


MIXED_BATCHES: dict[str, Callable[[list[ClaimedJob]], Operation[object]]] = {
    "complete": lambda batch: jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claimed.lease) for claimed in batch]),
    "complete with known runs": lambda batch: jobs.complete_jobs(WORKER, [success_of(claimed) for claimed in batch]),
    "complete, the others plain": lambda batch: jobs.complete_jobs(
        WORKER, [success_of(claimed) for claimed in batch], are_plain=True
    ),
    "fail": lambda batch: jobs.fail_jobs(WORKER, [failure_of(claimed, JobFailureKind.TERMINAL) for claimed in batch]),
}
REFUSED_BY_THE_TEST = pytest.raises(QueryError, check=lambda error: error.sqlstate == "P0001")
EVERY_MIXED_BATCH = pytest.mark.parametrize("make", MIXED_BATCHES.values(), ids=MIXED_BATCHES)


@EVERY_MIXED_BATCH
@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_batch_that_fails_at_its_workflows_leaves_nothing_in_a_callers_transaction(
    queue: WorkflowQueue, make: Callable[[list[ClaimedJob]], Operation[object]], *, is_blocking: bool
) -> None:
    """The caller commits, and the plain jobs of the batch are still held."""
    queue.enqueue()
    for _ in range(MAX_RUNS + 1):
        queue.start(diamond())
    batch = queue.claim()
    last = max(claimed.workflow_run_id for claimed in batch if claimed.workflow_run_id is not None)
    queue.refuse("workflow_runs", f"NEW.id = '{last}'", action="UPDATE")
    before = queue.contents()

    if is_blocking:
        with psycopg.connect(queue.url) as connection, REFUSED_BY_THE_TEST:
            run_sync(connection, make(batch))
    else:
        async with await psycopg.AsyncConnection.connect(queue.url) as connection:
            with REFUSED_BY_THE_TEST:
                await run(connection, make(batch))

    assert queue.contents() == before


@pytest.mark.parametrize("are_plain", [True, False])
def test_jobs_that_are_known_to_be_plain_are_completed_without_a_savepoint(
    queue: WorkflowQueue, first: Session, *, are_plain: bool
) -> None:
    """The way that every job of a queue without workflows takes. A row from inside a savepoint has another xmin."""
    claimed = queue.enqueue_and_claim()

    first.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claimed.lease)], are_plain=are_plain))

    written = "SELECT xmin = pg_current_xact_id()::xid FROM runledger.job_queue WHERE id = %s"
    assert first.sql(written, claimed.job_id) == [(are_plain,)]


def break_constraints(queue: WorkflowQueue, statement: str, *parameters: object) -> None:
    """Run a statement that foreign keys and triggers would refuse."""
    queue.sql("SET session_replication_role = replica")
    queue.sql(statement, *parameters)
    queue.sql("RESET session_replication_role")


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_step_that_says_it_has_another_job_does_not_end(queue: WorkflowQueue, first: Session, end: str) -> None:
    """WFP-020."""
    run_id, other = queue.start(diamond()), queue.start(diamond())
    claimed = next(job for job in queue.claim() if job.workflow_run_id == run_id)
    break_constraints(queue, "DELETE FROM workflow_steps WHERE id = %s", queue.steps(other)["a"].id)
    break_constraints(
        queue,
        "UPDATE workflow_steps SET job_id = (SELECT id FROM job_queue WHERE id <> %s) WHERE job_id = %s",
        claimed.job_id,
        claimed.job_id,
    )
    before = queue.contents()
    operations = {
        "complete": jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)),
        "fail": jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)),
        "cancel": jobs.cancel_job(claimed.job_id, scope=Admin()),
    }

    with refused(INTERNAL, QueryErrorCategory.INTERNAL):
        first.run(operations[end])
    first.commit()

    assert queue.contents() == before


def test_an_edge_into_another_run_stops_the_end_before_anything_is_changed(
    queue: WorkflowQueue, first: Session
) -> None:
    """WFP-018."""
    run_id, other = queue.start(diamond()), queue.start(diamond())
    claimed = next(job for job in queue.claim() if job.workflow_run_id == run_id)
    break_constraints(
        queue,
        """INSERT INTO workflow_step_dependencies (workflow_run_id, prerequisite_step_id, dependent_step_id)
           VALUES (%s, %s, %s)""",
        run_id,
        claimed.workflow_step_id,
        queue.steps(other)["d"].id,
    )
    before = queue.contents()

    with refused(INTERNAL, QueryErrorCategory.INTERNAL):
        first.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))
    first.commit()

    assert queue.contents() == before


def test_a_step_waits_for_every_prerequisite_of_a_wide_join(queue: WorkflowQueue) -> None:
    """WFP-002."""
    flow = workflow()
    flow.job("join", JOB_TYPE, after=[flow.job(f"s{n}", JOB_TYPE) for n in range(300)])
    run_id = queue.start(flow)
    claimed = queue.claim(limit=300)
    queue.succeed_all(claimed[:299])
    assert queue.counters(run_id)["join"] == (1, 0)

    queue.succeed(claimed[299])

    assert queue.statuses(run_id)["join"] == "ENQUEUED"


@pytest.mark.parametrize("status", [FAILED, CANCELED])
def test_a_finished_step_is_not_moved_again_by_a_gate_that_ends_later(
    queue: WorkflowQueue, status: WorkflowStepStatus
) -> None:
    """WFP-008. A canceled dependent has no prerequisite left to hear of; one branch goes on without the other."""
    flow = workflow()
    gate, a = flow.gate("gate"), flow.job("a", JOB_TYPE)
    flow.job("after", JOB_TYPE, after=a)
    flow.job("needs", JOB_TYPE, after=gate)
    run_id = queue.start(flow)

    queue.complete(run_id, "gate", status)
    queue.succeed(queue.claim_steps()["a"])

    assert queue.statuses(run_id) == {"gate": status.value, "a": "SUCCEEDED", "after": "ENQUEUED", "needs": "CANCELED"}


def test_released_jobs_are_due_at_once_and_carry_the_time_of_the_end(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    claimed = queue.claim_steps()["a"]
    at = queue.clock() + timedelta(seconds=5)

    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease), now=at))

    step, released = queue.steps(run_id)["b"], queue.job_of(run_id, "b")
    assert (step.released_at, released.next_run_at, released.created_at) == (at, at, at)
    assert queue.run(workflows.get_workflow_run_id_for_job(released.id, scope=Admin())) == run_id
