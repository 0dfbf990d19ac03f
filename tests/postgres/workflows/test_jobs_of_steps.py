"""Steps that move with their job: claim, retry, release, return, reap; and what jobs of workflows may not do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    JobClaimOrigin,
    JobFailureKind,
    JobStatus,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.postgres import Operation, QueryError, jobs, workflows
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER
from tests.postgres.workflow_queue import WorkflowQueue, diamond, failure_of, refused, workflow
from tests.races.session import Session

PRESTART = JobClaimOrigin.WORKER_PRESTART


def one_step(queue: WorkflowQueue, *, max_attempts: int | None = None, job_type: str = JOB_TYPE) -> ClaimedJob:
    """Return the claimed job of a run with one step that others wait for."""
    flow = workflow()
    a = flow.job("a", job_type, max_attempts=max_attempts)
    flow.job("needs", JOB_TYPE, after=a)
    flow.job("report", JOB_TYPE, after_terminal=a)
    queue.start(flow)
    return queue.claim_one()


def step_of(queue: WorkflowQueue, claimed: ClaimedJob) -> tuple[str, str | None, str | None]:
    """Return where the step of a job stands, and why."""
    assert claimed.workflow_run_id is not None
    step = queue.steps(claimed.workflow_run_id)["a"]
    assert step.job_id == claimed.job_id
    return step.status.value, step.status_reason, step.last_error_code


def test_a_claim_starts_the_step_and_tells_where_it_belongs(queue: WorkflowQueue) -> None:
    """CLM-011."""
    run_id = queue.start(diamond())

    claimed = queue.claim_one()

    step = queue.steps(run_id)["a"]
    assert step.status is WorkflowStepStatus.RUNNING
    assert step.started_at == claimed.leased_at
    assert (claimed.workflow_run_id, claimed.workflow_step_id, claimed.workflow_step_key) == (run_id, step.id, "a")
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING


def test_a_plain_job_belongs_to_no_step(queue: WorkflowQueue) -> None:
    claimed = queue.enqueue_and_claim()

    assert (claimed.workflow_run_id, claimed.workflow_step_id, claimed.workflow_step_key) == (None, None, None)
    assert queue.run(workflows.get_workflow_run_id_for_job(claimed.job_id, scope=Admin())) is None


def test_a_claim_whose_event_cannot_be_written_leaves_the_step_enqueued(queue: WorkflowQueue) -> None:
    """CLM-010, CLM-011."""
    queue.start(diamond())
    queue.refuse("job_events", "NEW.event_type = 'LEASED'")
    before = queue.contents()

    with pytest.raises(QueryError):
        queue.claim()

    assert queue.contents() == before


def test_a_retry_returns_the_step_with_the_error_and_keeps_job_and_start(queue: WorkflowQueue) -> None:
    """WFP-012."""
    claimed = one_step(queue)

    assert not queue.run(jobs.fail_job(failure_of(claimed)))

    assert step_of(queue, claimed) == ("ENQUEUED", "RETRYABLE", "smtp.busy")
    assert claimed.workflow_run_id is not None
    step = queue.steps(claimed.workflow_run_id)["a"]
    assert (step.last_error_message, step.started_at, step.finished_at) == ("try later", claimed.leased_at, None)
    assert queue.workflow_run(claimed.workflow_run_id).status is WorkflowRunStatus.RUNNING
    again = queue.claim_one()
    assert (again.job_id, again.attempt) == (claimed.job_id, 2)
    assert step_of(queue, claimed)[0] == "RUNNING"
    assert queue.steps(claimed.workflow_run_id)["a"].started_at == claimed.leased_at


def test_in_a_batch_retries_go_with_plain_jobs_and_dead_letters_with_their_runs(queue: WorkflowQueue) -> None:
    """WFP-012, WFP-014."""
    retried, dead = one_step(queue), one_step(queue, max_attempts=1)
    plain = queue.enqueue_and_claim()

    recorded = queue.run(jobs.fail_jobs(WORKER, [failure_of(claimed) for claimed in (dead, plain, retried)]))

    assert recorded == {retried.job_id: False, plain.job_id: False, dead.job_id: True}
    assert step_of(queue, retried)[0] == "ENQUEUED"
    assert step_of(queue, dead) == ("FAILED", "RETRYABLE", "smtp.busy")


def test_a_release_returns_the_step(queue: WorkflowQueue) -> None:
    """REL-008, REL-007."""
    run_id = queue.start(diamond())
    (claimed,) = queue.claim(claim_origin=PRESTART)

    queue.run(jobs.release_unstarted_job_claim(claimed.lease, reason="SHUTDOWN"))

    step = queue.steps(run_id)["a"]
    assert (step.status, step.started_at, step.job_id) == (WorkflowStepStatus.ENQUEUED, None, claimed.job_id)


def test_a_release_of_a_later_attempt_keeps_the_start_of_the_step(queue: WorkflowQueue) -> None:
    """REL-008, REL-007."""
    claimed = one_step(queue)
    queue.run(jobs.fail_job(failure_of(claimed)))
    (again,) = queue.claim(claim_origin=PRESTART)

    queue.run(jobs.release_unstarted_job_claim(again.lease, reason="SHUTDOWN"))

    assert claimed.workflow_run_id is not None
    step = queue.steps(claimed.workflow_run_id)["a"]
    assert (step.status, step.started_at) == (WorkflowStepStatus.ENQUEUED, claimed.leased_at)


def test_a_release_that_is_refused_leaves_the_step_running(queue: WorkflowQueue) -> None:
    """REL-003, REL-005, REL-008."""
    claimed = one_step(queue)

    with refused("job.unstarted_claim_release_not_applicable"):
        queue.run(jobs.release_unstarted_job_claim(claimed.lease, reason="SHUTDOWN"))

    assert step_of(queue, claimed)[0] == "RUNNING"


@pytest.mark.parametrize("is_retried", [True, False])
def test_claims_that_are_given_back_return_their_steps(queue: WorkflowQueue, *, is_retried: bool) -> None:
    """As an attempt that has not begun: only an earlier one has left its start."""
    first = held = one_step(queue)
    if is_retried:
        queue.run(jobs.fail_job(failure_of(first)))
        held = queue.claim_one(is_start=True)

    assert queue.run(jobs.return_claims(WORKER, [held.lease], reason="SHUTDOWN")) == {held.job_id}

    assert held.workflow_run_id is not None
    step = queue.steps(held.workflow_run_id)["a"]
    started_at = first.leased_at if is_retried else None
    assert (step.status, step.started_at) == (WorkflowStepStatus.ENQUEUED, started_at)


def reap(queue: WorkflowQueue, claimed: ClaimedJob) -> jobs.ReapResult:
    now = claimed.lease_expires_at + MINUTE
    return queue.run(jobs.reap_expired_leases(limit=10, retry_delay=timedelta(), now=now))


def test_an_expired_lease_with_attempts_left_returns_the_step(queue: WorkflowQueue) -> None:
    """WFP-013."""
    claimed = one_step(queue)

    assert reap(queue, claimed).processed_count == 1

    assert step_of(queue, claimed) == ("ENQUEUED", "LEASE_EXPIRED", "job.lease_expired")
    assert claimed.workflow_run_id is not None
    assert queue.steps(claimed.workflow_run_id)["a"].started_at == claimed.leased_at


def test_an_expired_claim_that_never_started_returns_the_step_as_it_was(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())
    (claimed,) = queue.claim(claim_origin=PRESTART)

    assert reap(queue, claimed).processed_count == 1

    step = queue.steps(run_id)["a"]
    assert (step.status, step.started_at, step.status_reason) == (WorkflowStepStatus.ENQUEUED, None, None)
    assert queue.job(claimed.job_id).attempt == 0


def test_an_expired_last_attempt_fails_the_step_and_moves_what_waits(queue: WorkflowQueue) -> None:
    """WFP-014, WFP-003, WFP-004."""
    claimed = one_step(queue, max_attempts=1)

    result = reap(queue, claimed)

    assert [letter.job_id for letter in result.dead_letters] == [claimed.job_id]
    assert step_of(queue, claimed) == ("FAILED", "LEASE_EXPIRED", "job.lease_expired")
    assert claimed.workflow_run_id is not None
    assert queue.statuses(claimed.workflow_run_id) == {"a": "FAILED", "needs": "CANCELED", "report": "ENQUEUED"}


def test_an_expired_last_attempt_of_a_run_that_is_locked_is_left_to_a_later_pass(
    queue: WorkflowQueue, first: Session
) -> None:
    """The reaper holds locks of jobs, so it waits for no run."""
    claimed = one_step(queue, max_attempts=1)
    plain = queue.enqueue_and_claim()
    assert claimed.workflow_run_id is not None
    first.run(workflows.list_workflow_step_keys_for_update(claimed.workflow_run_id, scope=Admin()))

    assert reap(queue, plain).processed_count == 1
    assert queue.job(claimed.job_id).status is JobStatus.LEASED
    assert step_of(queue, claimed)[0] == "RUNNING"

    first.rollback()
    assert reap(queue, claimed).processed_count == 1
    assert step_of(queue, claimed)[0] == "FAILED"


def many_last_attempts(queue: WorkflowQueue, count: int) -> UUID:
    """Return a run whose jobs are all claimed for the last time."""
    flow = workflow()
    for number in range(count):
        flow.job(f"part-{number}", JOB_TYPE, max_attempts=1)
    run_id = queue.start(flow)
    assert len(queue.claim()) == count
    return run_id


def test_a_run_that_is_locked_hides_no_lease_that_expired_after_its_own(queue: WorkflowQueue, first: Session) -> None:
    """Its jobs alone would fill the window of each pass, for as long as it is locked."""
    locked = many_last_attempts(queue, 7)
    other, plain = many_last_attempts(queue, 1), queue.enqueue_and_claim()
    first.run(workflows.list_workflow_step_keys_for_update(locked, scope=Admin()))
    now = plain.lease_expires_at + MINUTE

    def reap_two() -> jobs.ReapResult:
        return queue.run(jobs.reap_expired_leases(limit=2, retry_delay=timedelta(hours=1), now=now))

    result = reap_two()
    assert (result.processed_count, result.is_full) == (2, True)
    assert queue.statuses(other) == {"part-0": "FAILED"}
    assert queue.job(plain.job_id).status is JobStatus.PENDING

    result = reap_two()
    assert (result.processed_count, result.is_full) == (0, False)
    first.rollback()
    while reap_two().is_full:
        pass
    assert set(queue.statuses(locked).values()) == {"FAILED"}


def test_the_jobs_of_a_locked_run_make_room_in_a_window_that_is_partly_taken(
    queue: WorkflowQueue, first: Session
) -> None:
    """What is taken already is not taken again, not even when it is refused and put off by nothing."""
    bad = queue.enqueue_and_claim(max_attempts=1)
    queue.refuse("job_dead_letters", "true")
    locked = many_last_attempts(queue, 2)
    plain = queue.enqueue_and_claim()
    first.run(workflows.list_workflow_step_keys_for_update(locked, scope=Admin()))

    result = queue.run(jobs.reap_expired_leases(limit=3, retry_delay=timedelta(), now=plain.lease_expires_at + MINUTE))

    assert [lease.job_id for lease in result.leases] == [plain.job_id]
    assert result.deferred_job_ids == (bad.job_id,)


def test_a_pass_of_the_reaper_looks_a_few_times_and_no_more(queue: WorkflowQueue, first: Session) -> None:
    """A window of one lease, and more runs that are locked than the reaper looks for."""
    locked = [many_last_attempts(queue, 1) for _ in range(9)]
    plain = queue.enqueue_and_claim()
    for run_id in locked:
        first.run(workflows.list_workflow_step_keys_for_update(run_id, scope=Admin()))
    now = plain.lease_expires_at + MINUTE

    result = queue.run(jobs.reap_expired_leases(limit=1, retry_delay=timedelta(), now=now))
    assert (result.processed_count, result.is_full) == (0, False)
    result = queue.run(jobs.reap_expired_leases(limit=2, retry_delay=timedelta(), now=now))
    assert result.processed_count == 1


def test_an_end_that_the_database_refuses_is_set_apart_with_its_step(queue: WorkflowQueue) -> None:
    """The lease and the step of one run are undone together, and the other run goes on."""
    queue.define("bad")
    bad, good = one_step(queue, max_attempts=1, job_type="bad"), one_step(queue, max_attempts=1)
    assert bad.workflow_run_id is not None
    queue.refuse("workflow_steps", f"NEW.workflow_run_id = '{bad.workflow_run_id}'", action="UPDATE")

    result = reap(queue, good)

    assert (result.processed_count, result.deferred_job_ids) == (1, (bad.job_id,))
    assert step_of(queue, good)[0] == "FAILED"
    assert (step_of(queue, bad)[0], queue.job(bad.job_id).status) == ("RUNNING", JobStatus.LEASED)
    assert queue.dead_letter(bad.job_id) is None


@pytest.mark.parametrize("end", ["success", "dead letter", "cancel", "none"])
def test_a_job_of_a_workflow_is_not_requeued(queue: WorkflowQueue, end: str) -> None:
    """ADM-013."""
    claimed = one_step(queue)
    ends: dict[str, Callable[[], object]] = {
        "success": lambda: queue.succeed(claimed),
        "dead letter": lambda: queue.dead_letter_now(claimed),
        "cancel": lambda: queue.run(jobs.cancel_job(claimed.job_id, scope=Admin())),
        "none": lambda: None,
    }
    ends[end]()
    before = queue.contents()

    with refused("job.workflow_requeue_not_supported", says="; enqueue the workflow again, as a new run"):
        queue.run(jobs.requeue_job(claimed.job_id, scope=Admin()))

    assert queue.contents() == before


def test_a_cancel_that_cannot_commit_leaves_job_step_and_run(queue: WorkflowQueue) -> None:
    """ADM-008."""
    claimed = one_step(queue)
    queue.sql("""
        CREATE FUNCTION refuse_commit() RETURNS trigger LANGUAGE plpgsql AS
        $function$ BEGIN RAISE EXCEPTION 'refused at commit'; END $function$""")
    queue.sql("""
        CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON job_queue DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse_commit()""")
    before = queue.contents()

    with pytest.raises(QueryError):
        queue.run(jobs.cancel_job(claimed.job_id, scope=Admin()))

    assert queue.contents() == before


LATE: dict[str, Callable[[ClaimedJob], Operation[object]]] = {
    "complete": lambda claimed: jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)),
    "retry": lambda claimed: jobs.fail_job(failure_of(claimed)),
    "dead letter": lambda claimed: jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)),
}


@pytest.mark.parametrize("write", LATE.values(), ids=LATE)
@pytest.mark.parametrize("is_canceled", [True, False], ids=["canceled", "expired"])
def test_who_has_lost_the_lease_moves_no_step(
    queue: WorkflowQueue, write: Callable[[ClaimedJob], Operation[object]], *, is_canceled: bool
) -> None:
    """LIFE-005, LIFE-006, ADM-002."""
    claimed = one_step(queue)
    if is_canceled:
        queue.run(jobs.cancel_job(claimed.job_id, scope=Admin()))
    else:
        queue.sql("UPDATE job_queue SET lease_expires_at = now() WHERE id = %s", claimed.job_id)
    before = queue.contents()

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        queue.run(write(claimed))
    assert queue.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claimed.lease)])) == set()

    assert queue.contents() == before


def test_a_job_of_a_workflow_that_is_reported_as_a_plain_one_is_left_alone(queue: WorkflowQueue) -> None:
    """So no worker that was told wrong ends a job without its step."""
    claimed = one_step(queue)
    before = queue.contents()

    assert queue.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claimed.lease)], are_plain=True)) == set()

    assert queue.contents() == before


def test_a_definition_that_a_step_names_cannot_be_deleted(queue: WorkflowQueue) -> None:
    one_step(queue)

    with pytest.raises(psycopg.errors.IntegrityError):
        queue.sql("DELETE FROM job_definitions")
