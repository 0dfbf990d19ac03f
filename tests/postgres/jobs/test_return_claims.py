"""Give back claims whose handler was never called: no attempt is consumed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runledger.core import ClaimedJob, InvalidArgumentError, JobFailureKind, JobStatus
from runledger.postgres import jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue


def give_back(queue: JobQueue, *claims: ClaimedJob) -> None:
    leases = [claim.lease for claim in claims]
    assert queue.run(jobs.return_claims(WORKER, leases, reason="SHUTDOWN")) == {claim.job_id for claim in claims}


@pytest.mark.parametrize("is_start", [False, True], ids=["claimed", "started"])
def test_a_returned_first_claim_leaves_no_attempt_and_the_next_claim_is_the_first_again(
    queue: JobQueue, *, is_start: bool
) -> None:
    """REL-001, REL-007. Only the holder knows whether it called the handler, so a start does not stand against it."""
    job_id = queue.enqueue()
    claimed = queue.claim_one(is_start=is_start)
    now = claimed.leased_at + timedelta(seconds=5)

    returned = queue.run(jobs.return_claims(WORKER, [claimed.lease], reason="SHUTDOWN", now=now))

    assert returned == {job_id}
    job = queue.job(job_id)
    assert (job.status, job.attempt, job.next_run_at, job.updated_at) == (JobStatus.PENDING, 0, now, now)
    assert (job.worker_id, job.lease_expires_at, job.last_heartbeat_at, job.started_at) == (None, None, None, None)
    assert (job.stage, job.finished_at) == ("queued", None)
    assert queue.attempts(job_id) == []
    assert queue.claim_one(now=now).attempt == 1


def test_a_returned_later_claim_keeps_earlier_attempts_and_the_first_start(queue: JobQueue) -> None:
    """REL-002, REL-007."""
    first = queue.enqueue_and_claim()
    failure = jobs.AttemptFailure(
        lease=first.lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message"
    )
    queue.run(jobs.fail_job(failure))
    second = queue.claim_one()

    give_back(queue, second)

    job = queue.job(first.job_id)
    assert (job.attempt, job.started_at) == (1, first.leased_at)
    assert [attempt.attempt for attempt in queue.attempts(first.job_id)] == [1]
    assert queue.claim_one().attempt == 2


def test_a_return_writes_requeued_with_its_reason_on_the_returned_attempt(queue: JobQueue) -> None:
    """REL-006."""
    claimed = queue.enqueue_and_claim()

    give_back(queue, claimed)

    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "REQUEUED"]
    event = queue.events(claimed.job_id)[-1]
    assert (event.run_number, event.attempt, event.payload) == (1, 1, {"reason": "SHUTDOWN"})


def test_a_return_may_delay_the_next_claim(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)

    queue.run(jobs.return_claims(WORKER, [claimed.lease], reason="SHUTDOWN", retry_delay=MINUTE, now=now))

    assert queue.job(claimed.job_id).next_run_at == now + MINUTE


def test_a_negative_delay_counts_as_none(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)

    queue.run(jobs.return_claims(WORKER, [claimed.lease], reason="SHUTDOWN", retry_delay=-MINUTE, now=now))

    assert queue.job(claimed.job_id).next_run_at == now


@pytest.mark.parametrize("reason", [" ", "a\0", None], ids=repr)
def test_a_reason_that_cannot_be_kept_is_refused(queue: JobQueue, reason: Any) -> None:
    claimed = queue.enqueue_and_claim()

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "reason"):
        queue.run(jobs.return_claims(WORKER, [claimed.lease], reason=reason))

    assert queue.job(claimed.job_id).status is JobStatus.LEASED


def test_the_longest_delay_is_as_long_as_that_of_a_retry(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)

    queue.run(jobs.return_claims(WORKER, [claimed.lease], reason="SHUTDOWN", retry_delay=timedelta(days=99), now=now))

    assert queue.job(claimed.job_id).next_run_at == now + timedelta(milliseconds=2**31 - 1)


def test_the_stage_of_before_the_start_comes_back(queue: JobQueue) -> None:
    job_id = queue.enqueue(stage="draft")
    started = queue.claim_one(is_start=True)

    give_back(queue, started)

    assert queue.job(job_id).stage == "draft"


def test_the_stage_of_a_later_run_is_queued(queue: JobQueue) -> None:
    job_id = queue.enqueue(stage="draft")
    queue.sql("UPDATE job_queue SET run_number = 2, stage = 'queued'")
    started = queue.claim_one(is_start=True)

    give_back(queue, started)

    assert queue.job(job_id).stage == "queued"


def test_the_stage_of_a_later_attempt_stays_running(queue: JobQueue) -> None:
    job_id = queue.enqueue(stage="draft")
    failure = jobs.AttemptFailure(
        lease=queue.claim_one(is_start=True).lease,
        kind=JobFailureKind.RETRYABLE,
        error_code="code",
        error_message="message",
    )
    queue.run(jobs.fail_job(failure))
    started = queue.claim_one(is_start=True)

    give_back(queue, started)

    assert queue.job(job_id).stage == "running"


def test_many_claims_are_returned_at_once(queue: JobQueue) -> None:
    for number in range(5):
        queue.enqueue(number)
    claims = queue.claim()

    give_back(queue, *claims)

    assert queue.sql("SELECT DISTINCT status::text, attempt FROM job_queue") == [("PENDING", 0)]
    assert queue.sql("SELECT FROM job_attempts") == []
