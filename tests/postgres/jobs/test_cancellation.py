"""Cancel: from where, with which traces, and what the holder of the lease learns."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    Global,
    InvalidArgumentError,
    JobEventType,
    JobFailureKind,
    JobStatus,
    Organization,
    Scope,
)
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue

ORGANIZATION = UUID("018fa1f8-0000-7000-8000-0000000000aa")
OTHER = UUID("018fa1f8-0000-7000-8000-0000000000bb")


def cancel(queue: JobQueue, job_id: UUID, **arguments: Any) -> Any:
    scope = arguments.pop("scope", Admin())
    return queue.run(jobs.cancel_job(job_id, scope=scope, **arguments))


def retry_of(lease: Any) -> Operation[bool]:
    return jobs.fail_job(
        jobs.AttemptFailure(lease=lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message")
    )


def test_a_pending_job_is_canceled_without_an_attempt(queue: JobQueue) -> None:
    """ADM-001."""
    job_id = queue.enqueue()
    now = queue.job(job_id).created_at + MINUTE

    canceled = cancel(queue, job_id, reason="obsolete", now=now)

    assert canceled == queue.job(job_id)
    assert (canceled.status, canceled.status_reason) == (JobStatus.CANCELED, "obsolete")
    assert (canceled.finished_at, canceled.updated_at, canceled.canceled_lease_expires_at) == (now, now, None)
    event = queue.events(job_id)[-1]
    assert (event.event_type, event.attempt, event.payload) == (JobEventType.CANCELED, None, {"reason": "obsolete"})
    assert queue.claim() == []


def test_a_leased_job_is_taken_from_its_worker_and_its_attempt_closed_without_outcome(queue: JobQueue) -> None:
    """ADM-002. The end of the lease is kept apart."""
    claimed = queue.enqueue_and_claim()

    canceled = cancel(queue, claimed.job_id)

    assert (canceled.worker_id, canceled.lease_expires_at, canceled.last_heartbeat_at) == (None, None, None)
    assert canceled.canceled_lease_expires_at == claimed.lease_expires_at
    (attempt,) = queue.attempts(claimed.job_id)
    assert (attempt.finished_at, attempt.outcome, attempt.error_code) == (canceled.finished_at, None, None)
    event = queue.events(claimed.job_id)[-1]
    assert (event.event_type, event.run_number, event.attempt) == (JobEventType.CANCELED, 1, 1)
    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))


def test_without_a_reason_it_is_canceled(queue: JobQueue) -> None:
    """ADM-003."""
    job_id = queue.enqueue()

    assert cancel(queue, job_id).status_reason == "CANCELED"
    assert queue.events(job_id)[-1].payload == {"reason": "CANCELED"}


def test_a_canceled_retry_keeps_the_error_of_the_attempt_before(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    queue.run(retry_of(claimed.lease))

    canceled = cancel(queue, claimed.job_id)

    assert (canceled.last_error_code, canceled.last_error_message) == ("code", "message")
    assert queue.events(claimed.job_id)[-1].attempt == 1
    (attempt,) = queue.attempts(claimed.job_id)
    assert attempt.outcome is JobFailureKind.RETRYABLE


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_job_that_has_ended_is_not_canceled(queue: JobQueue, end: str) -> None:
    """ADM-004."""
    claimed = queue.enqueue_and_claim(max_attempts=1)
    ends: dict[str, Operation[object]] = {
        "complete": jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)),
        "fail": retry_of(claimed.lease),
        "cancel": jobs.cancel_job(claimed.job_id, scope=Admin()),
    }
    queue.run(ends[end])
    before = queue.job(claimed.job_id), queue.events(claimed.job_id)

    with pytest.raises(QueryError) as caught:
        cancel(queue, claimed.job_id)

    assert caught.value.code == "job.invalid_state_transition"
    assert str(before[0].status) in str(caught.value)
    assert (queue.job(claimed.job_id), queue.events(claimed.job_id)) == before


def test_a_job_that_does_not_exist_is_not_found(queue: JobQueue) -> None:
    """ADM-005."""
    with pytest.raises(QueryError, check=lambda error: error.code == "job.not_found"):
        cancel(queue, uuid4())


@pytest.mark.parametrize(
    ("owner", "scope"),
    [(ORGANIZATION, Organization(OTHER)), (ORGANIZATION, Global()), (None, Organization(ORGANIZATION))],
    ids=["other", "global", "of none"],
)
def test_a_job_outside_the_scope_is_not_found_and_stays_pending(
    queue: JobQueue, owner: UUID | None, scope: Scope
) -> None:
    """ADM-006."""
    job_id = queue.enqueue(organization_id=owner)

    with pytest.raises(QueryError, check=lambda error: error.code == "job.not_found"):
        cancel(queue, job_id, scope=scope)

    assert queue.job(job_id).status is JobStatus.PENDING
    assert queue.event_types(job_id) == ["ENQUEUED"]


@pytest.mark.parametrize(
    ("owner", "scope"),
    [(ORGANIZATION, Organization(ORGANIZATION)), (ORGANIZATION, Admin()), (None, Global()), (UUID(int=0), Admin())],
    ids=["own", "admin", "global", "nil"],
)
def test_a_job_in_the_scope_is_canceled(queue: JobQueue, owner: UUID | None, scope: Scope) -> None:
    """ADM-007."""
    job_id = queue.enqueue(organization_id=owner)

    assert cancel(queue, job_id, scope=scope).status is JobStatus.CANCELED


def test_the_nil_uuid_is_an_organization_like_any_other(queue: JobQueue) -> None:
    """ADM-032."""
    job_id = queue.enqueue(organization_id=ORGANIZATION)

    with pytest.raises(QueryError, check=lambda error: error.code == "job.not_found"):
        cancel(queue, job_id, scope=Organization(UUID(int=0)))


def test_a_cancel_that_cannot_commit_leaves_the_job_pending_without_an_event(queue: JobQueue) -> None:
    """ADM-008."""
    job_id = queue.enqueue()
    queue.sql("""
        CREATE FUNCTION refuse_commit() RETURNS trigger LANGUAGE plpgsql AS
        $function$ BEGIN RAISE EXCEPTION 'refused at commit'; END $function$""")
    queue.sql("""
        CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON job_queue DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse_commit()""")

    with pytest.raises(QueryError):
        cancel(queue, job_id)

    assert queue.job(job_id).status is JobStatus.PENDING
    assert queue.event_types(job_id) == ["ENQUEUED"]


@pytest.mark.parametrize("reason", ["", "  ", "a\0b", 7])
def test_a_reason_that_says_nothing_or_cannot_be_stored_is_refused(queue: JobQueue, reason: Any) -> None:
    job_id = queue.enqueue()

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "reason"):
        cancel(queue, job_id, reason=reason)

    assert queue.job(job_id).status is JobStatus.PENDING


def test_the_latest_end_of_a_canceled_lease_is_kept(queue: JobQueue) -> None:
    """A job that is requeued at once and canceled again may still have the handler of the first run."""
    claimed = queue.enqueue_and_claim()
    cancel(queue, claimed.job_id)
    queue.run(jobs.requeue_job(claimed.job_id, scope=Admin()))

    again = cancel(queue, claimed.job_id)

    assert (again.run_number, again.canceled_lease_expires_at) == (2, claimed.lease_expires_at)


# Why a lease is lost ---------------------------------------------------------------------------------------------


def test_a_lease_that_a_cancel_ended_is_told_from_others_also_after_a_requeue(queue: JobQueue) -> None:
    for number in range(4):
        queue.enqueue(number)
    canceled, completed, retried, held = queue.claim()
    cancel(queue, canceled.job_id)
    queue.run(jobs.requeue_job(canceled.job_id, scope=Admin()))
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=completed.lease)))
    queue.run(retry_of(retried.lease))
    cancel(queue, retried.job_id)  # after its lease had ended in another way
    leases = [claim.lease for claim in (canceled, completed, retried, held)]

    assert queue.run(jobs.read_canceled_leases(WORKER, leases)) == {canceled.job_id}
    assert queue.run(jobs.read_canceled_leases("worker-2", leases)) == set()
    assert queue.run(jobs.read_canceled_leases(WORKER, [])) == set()
