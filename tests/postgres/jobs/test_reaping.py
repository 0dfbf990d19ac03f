"""Reap: what becomes of expired leases, and of rows that cannot be processed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from runledger.core import ClaimedJob, InvalidArgumentError, JobClaimOrigin, JobFailureKind, JobStatus
from runledger.postgres import jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue

DELAY = timedelta(seconds=5)
SECOND = timedelta(seconds=1)


def reap(queue: JobQueue, *, now: datetime, limit: int = 100) -> jobs.ReapResult:
    return queue.run(jobs.reap_expired_leases(limit=limit, retry_delay=DELAY, now=now))


def claim_started(queue: JobQueue, *, max_attempts: int = 3, payload: int = 0) -> ClaimedJob:
    """Return a job that a worker claimed and started."""
    queue.enqueue({"n": payload}, max_attempts=max_attempts)
    (claimed,) = queue.claim(claim_origin=JobClaimOrigin.WORKER_PRESTART, is_start=True)
    return claimed


def test_an_expired_lease_with_attempts_left_is_due_again_after_the_delay(queue: JobQueue) -> None:
    """RPR-001."""
    claimed = claim_started(queue)
    now = claimed.lease_expires_at + SECOND

    result = reap(queue, now=now)

    assert (result.processed_count, result.deferred_job_ids, result.dead_letters) == (1, (), ())
    job = queue.job(claimed.job_id)
    assert (job.status, job.attempt, job.next_run_at, job.updated_at) == (JobStatus.PENDING, 1, now + DELAY, now)
    assert (job.worker_id, job.lease_expires_at, job.last_heartbeat_at) == (None, None, None)
    assert (job.stage, job.started_at, job.finished_at) == ("running", claimed.leased_at, None)
    (attempt,) = queue.attempts(claimed.job_id)
    assert (attempt.outcome, attempt.finished_at, attempt.retry_delay_ms) == (JobFailureKind.LEASE_EXPIRED, now, 5_000)


def test_an_expired_lease_of_the_last_attempt_is_dead_lettered(queue: JobQueue) -> None:
    """RPR-002."""
    claimed = claim_started(queue, max_attempts=1, payload=7)
    now = claimed.lease_expires_at + SECOND

    result = reap(queue, now=now)

    job = queue.job(claimed.job_id)
    assert (job.status, job.finished_at, job.last_error_code) == (JobStatus.DEAD_LETTERED, now, "job.lease_expired")
    (letter,) = result.dead_letters
    assert (letter.job_id, letter.job_type, letter.organization_id) == (job.id, job.job_type, None)
    assert (letter.run_number, letter.attempt, letter.max_attempts) == (1, 1, 1)
    assert letter.payload == {"n": 7}
    assert result.processed_count == 1


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_queue_attempt_events_and_dead_letter_agree(queue: JobQueue, max_attempts: int) -> None:
    """RPR-003, RPR-004."""
    claimed = claim_started(queue, max_attempts=max_attempts)

    reap(queue, now=claimed.lease_expires_at + SECOND)

    job, (attempt,) = queue.job(claimed.job_id), queue.attempts(claimed.job_id)
    code, message = job.last_error_code, job.last_error_message
    assert (job.status_reason, code) == ("LEASE_EXPIRED", "job.lease_expired")
    assert (attempt.error_code, attempt.error_message) == (code, message)
    failed, last = queue.events(claimed.job_id)[-2:]
    flag = {"started_without_renewal_heartbeat": True}
    assert failed.event_type == "FAILED"
    assert failed.payload == {"kind": "LEASE_EXPIRED", "error_code": code, "error_message": message} | flag
    if max_attempts == 1:
        letter = queue.dead_letter(claimed.job_id)
        assert letter is not None
        assert (letter.error_code, letter.error_message, letter.failed_at) == (code, message, job.finished_at)
        assert last.event_type == "DEAD_LETTERED"
        assert last.payload == {"kind": "LEASE_EXPIRED", "error_code": code} | flag
    else:
        due_at = job.next_run_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert last.event_type == "RETRY_SCHEDULED"
        assert last.payload == {"kind": "LEASE_EXPIRED", "retry_delay_ms": 5_000, "next_run_at": due_at} | flag


def test_a_job_that_renewed_its_lease_is_told_from_one_that_never_did(queue: JobQueue) -> None:
    claimed = claim_started(queue)
    renewed_at = claimed.leased_at + SECOND
    queue.run(jobs.renew_leases(WORKER, [claimed.lease], lease_ttl=MINUTE, now=renewed_at))

    reap(queue, now=renewed_at + MINUTE + SECOND)

    payload = queue.events(claimed.job_id)[-1].payload
    assert isinstance(payload, dict)
    assert payload["started_without_renewal_heartbeat"] is False


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_workers_claim_that_never_started_is_released_without_consuming_the_attempt(
    queue: JobQueue, max_attempts: int
) -> None:
    """RPR-005."""
    job_id = queue.enqueue(max_attempts=max_attempts)
    (claimed,) = queue.claim(claim_origin=JobClaimOrigin.WORKER_PRESTART)
    now = claimed.lease_expires_at + SECOND

    result = reap(queue, now=now)

    assert (result.processed_count, result.dead_letters) == (1, ())
    job = queue.job(job_id)
    assert (job.status, job.attempt, job.next_run_at) == (JobStatus.PENDING, 0, now)
    assert (job.started_at, job.status_reason, job.last_error_code) == (None, None, None)
    assert queue.attempts(job_id) == []
    event = queue.events(job_id)[-1]
    assert (event.event_type, event.attempt) == ("REQUEUED", 1)
    assert event.payload == {"reason": "LEASE_EXPIRED_BEFORE_RUNNING_PERSISTED"}


def test_a_later_claim_that_never_started_is_not_consumed_either(queue: JobQueue) -> None:
    """RPR-006."""
    first = claim_started(queue)
    reap(queue, now=first.lease_expires_at + SECOND)
    due_at = queue.job(first.job_id).next_run_at
    (second,) = queue.claim(claim_origin=JobClaimOrigin.WORKER_PRESTART, now=due_at)

    reap(queue, now=second.lease_expires_at + SECOND)

    job = queue.job(first.job_id)
    assert (job.attempt, job.started_at) == (1, first.leased_at)
    assert [attempt.attempt for attempt in queue.attempts(first.job_id)] == [1]


def test_a_direct_claim_counts_from_the_claim_on(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim(max_attempts=1)

    reap(queue, now=claimed.lease_expires_at + SECOND)

    assert queue.job(claimed.job_id).status is JobStatus.DEAD_LETTERED


def test_events_of_a_reaped_retry(queue: JobQueue) -> None:
    """RPR-009."""
    claimed = claim_started(queue)

    reap(queue, now=claimed.lease_expires_at + SECOND)

    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "FAILED", "RETRY_SCHEDULED"]


def test_a_lease_is_reaped_after_its_expiry_and_not_at_it(queue: JobQueue) -> None:
    """RPR-010."""
    claimed = claim_started(queue)

    assert reap(queue, now=claimed.lease_expires_at).processed_count == 0
    assert queue.job(claimed.job_id).status is JobStatus.LEASED
    assert reap(queue, now=claimed.lease_expires_at + timedelta(microseconds=1)).processed_count == 1


def test_the_clock_of_the_database_decides_when_no_instant_is_passed(queue: JobQueue) -> None:
    live = claim_started(queue)
    expired = claim_started(queue)
    queue.sql("UPDATE job_queue SET lease_expires_at = clock_timestamp() WHERE id = %s", expired.job_id)

    result = queue.run(jobs.reap_expired_leases(limit=10, retry_delay=DELAY))

    assert result.processed_count == 1
    assert queue.job(live.job_id).status is JobStatus.LEASED
    assert queue.job(expired.job_id).status is JobStatus.PENDING


def test_a_pass_takes_the_oldest_expiry_first_and_says_that_there_may_be_more(queue: JobQueue) -> None:
    claims = [claim_started(queue, payload=number) for number in range(3)]
    now = claims[-1].lease_expires_at + SECOND

    first = reap(queue, now=now, limit=2)
    statuses = [queue.job(claim.job_id).status for claim in claims]
    second = reap(queue, now=now, limit=2)

    assert (first.processed_count, first.is_full) == (2, True)
    assert statuses == [JobStatus.PENDING, JobStatus.PENDING, JobStatus.LEASED]
    assert (second.processed_count, second.is_full) == (1, False)


def test_a_delay_larger_than_its_column_is_cut(queue: JobQueue) -> None:
    claimed = claim_started(queue)
    now = claimed.lease_expires_at + SECOND

    result = queue.run(jobs.reap_expired_leases(limit=10, retry_delay=timedelta(days=1_000), now=now))

    assert (result.processed_count, result.deferred_job_ids) == (1, ())
    assert queue.job(claimed.job_id).next_run_at == now + timedelta(milliseconds=2**31 - 1)


@pytest.mark.parametrize("poisoned_index", [0, 3, 6])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_row_that_cannot_be_processed_is_deferred_and_its_neighbours_are_reaped(
    queue: JobQueue, poisoned_index: int, max_attempts: int
) -> None:
    """RPR-007, RPR-008."""
    claims = [claim_started(queue, payload=number, max_attempts=max_attempts) for number in range(7)]
    poisoned = claims[poisoned_index].job_id
    queue.refuse("job_events", f"NEW.job_id = '{poisoned}'")
    before = queue.attempts(poisoned), queue.events(poisoned)
    now = claims[-1].lease_expires_at + SECOND

    result = reap(queue, now=now)

    assert (result.processed_count, result.deferred_job_ids) == (6, (poisoned,))
    assert poisoned not in {letter.job_id for letter in result.dead_letters}
    job = queue.job(poisoned)
    assert (job.status, job.lease_expires_at, job.worker_id) == (JobStatus.LEASED, now + DELAY, WORKER)
    assert (queue.attempts(poisoned), queue.events(poisoned)) == before
    reaped = JobStatus.DEAD_LETTERED if max_attempts == 1 else JobStatus.PENDING
    others = [queue.job(claim.job_id).status for claim in claims if claim.job_id != poisoned]
    assert others == [reaped] * 6
    assert reap(queue, now=now).processed_count == 0, "it has left the window, so that it starves nobody"


def test_several_poisoned_rows_are_each_set_apart(queue: JobQueue) -> None:
    """RPR-007, RPR-008."""
    claims = [claim_started(queue, payload=number) for number in range(8)]
    poisoned = {claims[index].job_id for index in (1, 2, 7)}
    ids = ", ".join(f"'{job_id}'" for job_id in poisoned)
    queue.refuse("job_attempts", f"NEW.job_id IN ({ids})", action="UPDATE")

    result = reap(queue, now=claims[-1].lease_expires_at + SECOND)

    assert result.processed_count == 5
    assert set(result.deferred_job_ids) == poisoned


def test_a_row_that_cannot_even_be_deferred_does_not_undo_its_neighbours(queue: JobQueue) -> None:
    claims = [claim_started(queue, payload=number) for number in range(3)]
    stuck = claims[1]
    queue.refuse("job_queue", f"NEW.id = '{stuck.job_id}'", action="UPDATE")

    result = reap(queue, now=claims[-1].lease_expires_at + SECOND)

    assert (result.processed_count, result.deferred_job_ids, result.stuck_job_ids) == (2, (), (stuck.job_id,))
    job = queue.job(stuck.job_id)
    assert (job.status, job.lease_expires_at) == (JobStatus.LEASED, stuck.lease_expires_at)


def test_nothing_expired_gives_an_empty_result(queue: JobQueue) -> None:
    result = queue.run(jobs.reap_expired_leases(limit=10, retry_delay=DELAY))

    assert result == jobs.ReapResult(leases=(), deferred_job_ids=(), stuck_job_ids=(), dead_letters=(), is_full=False)


def test_a_senseless_limit_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "limit"):
        next(jobs.reap_expired_leases(limit=0, retry_delay=DELAY).begin())
