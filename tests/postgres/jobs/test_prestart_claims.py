"""Claims of a host that starts them later: claim, record the start, or release what was not started."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    InvalidArgumentError,
    JobClaimOrigin,
    JobEventType,
    JobFailureKind,
    JobProgress,
    JobStage,
    JobStatus,
)
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER, JobQueue

REASON = "QUEUE_FULL"


def claim_prestart(queue: JobQueue, *, max_attempts: int | None = None) -> ClaimedJob:
    queue.enqueue(max_attempts=max_attempts)
    return claim_again(queue)


def claim_again(queue: JobQueue) -> ClaimedJob:
    (claimed,) = queue.run(jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1))
    return claimed


def start(claimed: ClaimedJob) -> Operation[None]:
    progress = JobProgress(stage=JobStage.RUNNING)
    return jobs.update_job_progress(jobs.JobProgressUpdate(lease=claimed.lease, progress=progress))


def release(claimed: ClaimedJob) -> Operation[None]:
    return jobs.release_unstarted_job_claim(claimed.lease, reason=REASON)


def facts(queue: JobQueue, claimed: ClaimedJob) -> object:
    return queue.job(claimed.job_id), queue.attempts(claimed.job_id), queue.events(claimed.job_id)


def assert_refused(queue: JobQueue, claimed: ClaimedJob, operation: Operation[None], code: str) -> None:
    before = facts(queue, claimed)
    with pytest.raises(QueryError) as caught:
        queue.run(operation)
    assert caught.value.code == code
    assert facts(queue, claimed) == before


NOT_APPLICABLE = "job.unstarted_claim_release_not_applicable"
NOT_HELD = "job.lease_owner_mismatch"


def test_a_prestart_claim_keeps_the_stage_and_records_its_origin_without_a_start(queue: JobQueue) -> None:
    """CLM-008, CLM-009, CLM-013."""
    queue.enqueue(stage="draft")
    claimed = claim_again(queue)

    assert queue.job(claimed.job_id).stage == "draft"
    (attempt,) = queue.attempts(claimed.job_id)
    assert (attempt.claim_origin, attempt.execution_started_persisted_at) == (JobClaimOrigin.WORKER_PRESTART, None)
    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED"]


def test_a_prestart_claim_takes_the_types_that_it_is_asked_for(queue: JobQueue) -> None:
    """CLM-005."""
    queue.define("sms.send")
    queue.enqueue(job_type="sms.send")
    wanted = queue.enqueue()

    claimed = queue.run(jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=9, job_types=[JOB_TYPE]))

    assert [job.job_id for job in claimed] == [wanted]


def test_a_prestart_claim_of_no_type_asks_nothing() -> None:
    """CLM-006."""
    with pytest.raises(StopIteration) as stop:
        next(jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1, job_types=[]).begin())

    assert stop.value.value == []


def test_a_released_first_claim_is_pending_without_attempts_and_is_claimed_as_the_first_again(queue: JobQueue) -> None:
    """REL-001, REL-007."""
    claimed = claim_prestart(queue)

    queue.run(release(claimed))

    job = queue.job(claimed.job_id)
    assert (job.status, job.attempt, job.started_at, job.stage) == (JobStatus.PENDING, 0, None, "queued")
    assert (job.worker_id, job.lease_expires_at, job.last_heartbeat_at) == (None, None, None)
    assert queue.attempts(claimed.job_id) == []
    assert claim_again(queue).attempt == 1


def test_a_released_later_claim_keeps_the_attempts_before_it(queue: JobQueue) -> None:
    """REL-002, REL-007."""
    first = claim_prestart(queue)
    failure = jobs.AttemptFailure(
        lease=first.lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message"
    )
    queue.run(jobs.fail_job(failure))
    second = claim_again(queue)

    queue.run(release(second))

    job = queue.job(first.job_id)
    assert (job.attempt, job.started_at) == (1, first.leased_at)
    assert (job.status_reason, job.last_error_code, job.last_error_message) == (None, None, None)
    assert [attempt.attempt for attempt in queue.attempts(first.job_id)] == [1]
    assert claim_again(queue).attempt == 2


def test_a_release_writes_requeued_with_its_reason_on_the_released_attempt(queue: JobQueue) -> None:
    """REL-006."""
    claimed = claim_prestart(queue)

    queue.run(release(claimed))

    event = queue.events(claimed.job_id)[-1]
    assert (event.event_type, event.attempt, event.payload) == (JobEventType.REQUEUED, 1, {"reason": REASON})


@pytest.mark.parametrize("delay", [timedelta(seconds=1), timedelta(), timedelta(seconds=-1)], ids=str)
def test_a_released_job_is_due_after_the_delay_and_a_negative_one_is_none(queue: JobQueue, delay: timedelta) -> None:
    claimed = claim_prestart(queue)
    now = claimed.leased_at + timedelta(seconds=5)

    queue.run(jobs.release_unstarted_job_claim(claimed.lease, reason=REASON, retry_delay=delay, now=now))

    assert queue.job(claimed.job_id).next_run_at == now + max(delay, timedelta())


def test_a_claim_whose_start_was_recorded_is_not_released(queue: JobQueue) -> None:
    """REL-003."""
    claimed = claim_prestart(queue)
    queue.run(start(claimed))

    assert_refused(queue, claimed, release(claimed), NOT_APPLICABLE)


def test_a_direct_claim_is_not_released(queue: JobQueue) -> None:
    """REL-005."""
    claimed = queue.enqueue_and_claim()

    assert_refused(queue, claimed, release(claimed), NOT_APPLICABLE)


def test_a_claim_that_is_over_is_not_released(queue: JobQueue) -> None:
    claimed = claim_prestart(queue)
    queue.run(release(claimed))

    assert_refused(queue, claimed, release(claimed), NOT_APPLICABLE)


@pytest.mark.parametrize("change", [{"worker_id": "worker-2"}, {"attempt": 2}, {"run_number": 2}], ids=str)
def test_a_claim_is_released_by_its_holder_only(queue: JobQueue, change: dict[str, Any]) -> None:
    """REL-004, LIFE-007."""
    claimed = claim_prestart(queue)
    stranger = dataclasses.replace(claimed.lease, **change)

    assert_refused(queue, claimed, jobs.release_unstarted_job_claim(stranger, reason=REASON), NOT_HELD)


def test_a_claim_whose_lease_is_over_is_left_to_the_reaper(queue: JobQueue) -> None:
    claimed = claim_prestart(queue)
    operation = jobs.release_unstarted_job_claim(claimed.lease, reason=REASON, now=claimed.lease_expires_at)

    assert_refused(queue, claimed, operation, NOT_HELD)


def test_a_release_without_a_reason_is_refused(queue: JobQueue) -> None:
    claimed = claim_prestart(queue)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "reason"):
        queue.run(jobs.release_unstarted_job_claim(claimed.lease, reason=" "))


def test_a_release_whose_event_cannot_be_written_changes_nothing(queue: JobQueue) -> None:
    claimed = claim_prestart(queue)
    queue.refuse("job_events", "NEW.event_type = 'REQUEUED'")

    assert_refused(queue, claimed, release(claimed), "db.query_failed")


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_the_reaper_returns_a_claim_that_was_not_started(queue: JobQueue, max_attempts: int) -> None:
    """RPR-005."""
    claimed = claim_prestart(queue, max_attempts=max_attempts)

    queue.run(
        jobs.reap_expired_leases(limit=9, retry_delay=MINUTE, now=claimed.lease_expires_at + timedelta(seconds=1))
    )

    job = queue.job(claimed.job_id)
    assert (job.status, job.attempt) == (JobStatus.PENDING, 0)
    assert queue.events(claimed.job_id)[-1].payload == {"reason": "LEASE_EXPIRED_BEFORE_RUNNING_PERSISTED"}


def test_the_worked_example_of_the_contract(queue: JobQueue) -> None:
    """Its table of rows, attempts and events, step by step (jobs, section 20)."""
    job_id = queue.enqueue(max_attempts=2)
    first = claim_again(queue)
    queue.run(start(first))
    queue.run(jobs.heartbeat_job(first.lease, lease_ttl=MINUTE))
    failure = jobs.AttemptFailure(lease=first.lease, kind=JobFailureKind.RETRYABLE, error_code="X", error_message="m")
    queue.run(jobs.fail_job(failure))
    retried = queue.job(job_id)
    assert (retried.status, retried.status_reason, retried.last_error_code, retried.stage) == (
        JobStatus.PENDING,
        "RETRYABLE",
        "X",
        "running",
    )
    second = claim_again(queue)
    queue.run(start(second))
    queue.run(jobs.reap_expired_leases(limit=9, retry_delay=MINUTE, now=second.lease_expires_at + timedelta(seconds=1)))
    dead = queue.job(job_id)
    assert (dead.status, dead.status_reason, dead.last_error_code) == (
        JobStatus.DEAD_LETTERED,
        "LEASE_EXPIRED",
        "job.lease_expired",
    )

    requeued = queue.run(jobs.requeue_job(job_id, scope=Admin()))

    assert (requeued.status, requeued.run_number, requeued.attempt, requeued.stage, requeued.status_reason) == (
        JobStatus.PENDING,
        2,
        0,
        "queued",
        "REQUEUED",
    )
    assert [(event.event_type.value, event.run_number, event.attempt) for event in queue.events(job_id)] == [
        ("ENQUEUED", 1, None),
        ("LEASED", 1, 1),
        ("STAGE_CHANGED", 1, 1),
        ("HEARTBEAT", 1, 1),
        ("FAILED", 1, 1),
        ("RETRY_SCHEDULED", 1, 1),
        ("LEASED", 1, 2),
        ("STAGE_CHANGED", 1, 2),
        ("FAILED", 1, 2),
        ("DEAD_LETTERED", 1, 2),
        ("REQUEUED", 1, 2),
    ]
    assert [(attempt.attempt, attempt.outcome) for attempt in queue.attempts(job_id)] == [
        (1, JobFailureKind.RETRYABLE),
        (2, JobFailureKind.LEASE_EXPIRED),
    ]
