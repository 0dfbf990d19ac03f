"""What becomes of jobs whose run is deleted by SQL, and of steps whose job is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from runledger.core import Admin, ClaimedJob, JobFailureKind, JobStatus, WorkflowRunStatus
from runledger.postgres import Operation, jobs, workflows
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER
from tests.postgres.workflow_queue import WorkflowQueue, diamond, failure_of, workflow
from tests.races.session import Session

DELETE_RUN = "DELETE FROM runledger.workflow_runs WHERE id = %s"
DELETE_JOB = "DELETE FROM runledger.job_queue WHERE id = %s"


def started(queue: WorkflowQueue, *, max_attempts: int = 3) -> tuple[UUID, ClaimedJob]:
    """Return a run with the claimed job of one step, and a step that waits for it."""
    flow = workflow()
    flow.job("b", JOB_TYPE, after=flow.job("a", JOB_TYPE, max_attempts=max_attempts))
    run_id = queue.start(flow)
    return run_id, queue.claim_one()


def success(claimed: ClaimedJob) -> jobs.JobSuccess:
    return jobs.JobSuccess(lease=claimed.lease, workflow_run_id=claimed.workflow_run_id)


ENDS: dict[str, tuple[JobStatus, Callable[[ClaimedJob], Operation[object]]]] = {
    "complete": (JobStatus.SUCCEEDED, lambda claimed: jobs.complete_job(success(claimed))),
    "complete many": (
        JobStatus.SUCCEEDED,
        lambda claimed: jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claimed.lease)]),
    ),
    "fail": (JobStatus.DEAD_LETTERED, lambda claimed: jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL))),
    "fail many": (
        JobStatus.DEAD_LETTERED,
        lambda claimed: jobs.fail_jobs(WORKER, [failure_of(claimed, JobFailureKind.TERMINAL)]),
    ),
    "retry": (JobStatus.PENDING, lambda claimed: jobs.fail_job(failure_of(claimed))),
    "cancel": (JobStatus.CANCELED, lambda claimed: jobs.cancel_job(claimed.job_id, scope=Admin())),
    "reap": (
        JobStatus.PENDING,
        lambda claimed: jobs.reap_expired_leases(
            limit=1, retry_delay=timedelta(), now=claimed.lease_expires_at + timedelta(seconds=1)
        ),
    ),
}
EVERY_END = pytest.mark.parametrize(("status", "end"), ENDS.values(), ids=ENDS)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_deleted_run_leaves_its_jobs_without_a_link(queue: WorkflowQueue) -> None:
    """Those of other runs keep theirs."""
    run_id, other = queue.start(diamond()), queue.start(diamond())
    queue.succeed_all(queue.claim())
    of_run, of_other = ([queue.job_of(run, key).id for key in "abc"] for run in (run_id, other))

    queue.sql(DELETE_RUN, run_id)

    assert [queue.job(job_id).workflow_step_id for job_id in of_run] == [None, None, None]
    assert [queue.job(job_id).workflow_step_id for job_id in of_other] == [queue.steps(other)[key].id for key in "abc"]
    assert queue.job(of_run[0]).status is JobStatus.SUCCEEDED
    assert queue.sql("SELECT DISTINCT workflow_run_id FROM workflow_steps") == [(other,)]


@EVERY_END
def test_the_job_of_a_deleted_run_ends_as_a_plain_one(
    queue: WorkflowQueue, status: JobStatus, end: Callable[[ClaimedJob], Operation[object]]
) -> None:
    run_id, claimed = started(queue)
    queue.sql(DELETE_RUN, run_id)

    queue.run(end(claimed))

    assert queue.job(claimed.job_id).status is status


@EVERY_END
def test_an_end_that_waited_for_the_deletion_of_its_run_ends_the_job_as_a_plain_one(
    queue: WorkflowQueue,
    first: Session,
    second: Session,
    status: JobStatus,
    end: Callable[[ClaimedJob], Operation[object]],
) -> None:
    run_id, claimed = started(queue)
    first.sql(DELETE_RUN, run_id)

    waiting = second.start(end(claimed), queue)
    first.commit()
    waiting.result()
    second.commit()

    if queue.job(claimed.job_id).status is JobStatus.LEASED:  # a batch leaves out what is locked, and is repeated
        queue.run(end(claimed))
    assert queue.job(claimed.job_id).status is status


def test_a_completion_that_the_claim_told_of_a_deleted_run_leaves_the_job_to_the_single_one(
    queue: WorkflowQueue,
) -> None:
    run_id, claimed = started(queue)
    queue.sql(DELETE_RUN, run_id)

    assert queue.run(jobs.complete_jobs(WORKER, [success(claimed)], are_plain=True)) == set()
    queue.run(jobs.complete_job(success(claimed)))

    assert queue.job(claimed.job_id).status is JobStatus.SUCCEEDED


def test_the_last_attempt_of_a_job_whose_run_is_deleted_is_reaped(queue: WorkflowQueue) -> None:
    """So such jobs do not fill the window of the reaper."""
    run_id, claimed = started(queue, max_attempts=1)
    queue.sql(DELETE_RUN, run_id)
    now = claimed.lease_expires_at + timedelta(seconds=1)

    result = queue.run(jobs.reap_expired_leases(limit=1, retry_delay=timedelta(), now=now))

    assert [letter.job_id for letter in result.dead_letters] == [claimed.job_id]
    assert queue.job(claimed.job_id).status is JobStatus.DEAD_LETTERED


def test_links_that_lead_nowhere_do_not_fill_the_window_of_the_reaper(queue: WorkflowQueue) -> None:
    """Somebody has deleted the run with triggers disabled."""
    _, claimed = started(queue, max_attempts=1)
    queue.sql("SET session_replication_role = replica")
    for table in ("workflow_step_dependencies", "workflow_steps", "workflow_runs"):
        queue.sql(f"DELETE FROM {table}")
    queue.sql("RESET session_replication_role")
    behind = queue.enqueue_and_claim(max_attempts=1)
    now = behind.lease_expires_at + timedelta(seconds=1)

    for _ in range(2):
        queue.run(jobs.reap_expired_leases(limit=1, retry_delay=timedelta(), now=now))

    assert queue.job(claimed.job_id).status is JobStatus.DEAD_LETTERED
    assert queue.job(behind.job_id).status is JobStatus.DEAD_LETTERED


def test_a_job_of_a_deleted_run_is_claimed_and_requeued_as_a_plain_one(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    queue.sql(DELETE_RUN, run_id)

    claimed = queue.claim_one()
    queue.succeed(claimed)
    requeued = queue.run(jobs.requeue_job(claimed.job_id, scope=Admin()))

    assert claimed.workflow_run_id is None
    assert requeued.status is JobStatus.PENDING


def test_a_deletion_waits_for_the_end_of_a_step_and_unlinks_what_it_released(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    run_id, claimed = started(queue)
    first.run(jobs.complete_job(success(claimed)))

    waiting = second.begin_sql(queue, DELETE_RUN, run_id)
    first.commit()
    waiting.result()
    second.commit()

    assert queue.sql("SELECT count(*), count(workflow_step_id) FROM job_queue") == [(2, 0)]


def test_a_deletion_waits_for_a_claim_without_holding_steps(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """Jobs before steps: a claim that has locked its job goes on to the step, and finds it free."""
    run_id = queue.start(diamond())
    first.lock(queue.job_of(run_id, "a").id)

    waiting = second.begin_sql(queue, DELETE_RUN, run_id)
    assert len(queue.sql("SELECT FROM workflow_steps FOR UPDATE NOWAIT")) == 4
    (claimed,) = first.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1))
    first.commit()
    waiting.result()
    second.commit()

    queue.succeed(claimed)
    assert queue.job(claimed.job_id).workflow_step_id is None


# Jobs -----------------------------------------------------------------------------------------------------------------


def test_a_step_that_has_ended_forgets_a_deleted_job_and_keeps_its_output(queue: WorkflowQueue) -> None:
    run_id, claimed = started(queue)
    queue.succeed(claimed, '{"n":1}')

    queue.sql(DELETE_JOB, claimed.job_id)

    step = queue.steps(run_id)["a"]
    assert (step.job_id, step.status.value, step.output) == (None, "SUCCEEDED", {"n": 1})
    queue.succeed(queue.claim_one())
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.SUCCEEDED


@pytest.mark.parametrize("is_held", [False, True])
def test_the_job_of_an_open_step_cannot_be_deleted(queue: WorkflowQueue, *, is_held: bool) -> None:
    run_id = queue.start(diamond())
    if is_held:
        queue.claim_one()
    before = queue.contents()

    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        queue.sql("DELETE FROM job_queue")

    assert caught.value.diag.constraint_name == "os_workflow_job_linkage_symmetry"
    assert queue.contents() == before
    assert queue.cancel_run(run_id).status is WorkflowRunStatus.CANCELED
    queue.sql("DELETE FROM job_queue")


def test_run_and_jobs_are_deleted_in_one_transaction(queue: WorkflowQueue, first: Session) -> None:
    run_id, claimed = started(queue)

    first.sql(DELETE_RUN, run_id)
    first.sql(DELETE_JOB, claimed.job_id)
    first.commit()

    assert [count for count, _ in queue.contents().values()][:3] == [0, 0, 0]
    assert queue.sql("SELECT FROM job_queue") == []


def test_a_deleted_step_unlinks_its_job(queue: WorkflowQueue) -> None:
    """Nobody should delete a step without its run, which counts it; its job stays usable all the same."""
    run_id, claimed = started(queue)

    queue.sql("DELETE FROM workflow_steps WHERE workflow_run_id = %s", run_id)
    queue.succeed(claimed)

    assert queue.job(claimed.job_id).workflow_step_id is None


def test_runs_of_others_are_not_locked_by_a_deletion(queue: WorkflowQueue, first: Session) -> None:
    run_id, _ = started(queue)
    _, other = started(queue)

    first.sql(DELETE_RUN, run_id)
    queue.succeed(other)
    first.rollback()

    assert queue.job(other.job_id).status is JobStatus.SUCCEEDED
    assert queue.run(workflows.get_workflow_run_id_for_job(other.job_id, scope=Admin())) == other.workflow_run_id
