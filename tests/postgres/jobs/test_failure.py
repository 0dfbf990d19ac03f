"""Fail: a retry or a dead letter, and what either writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runledger.core import ClaimedJob, JobFailureKind, JobStatus, decide_failure
from runledger.core.jobs.failure_decision import RetryDecision
from runledger.core.jobs.failure_text import MAX_ERROR_TEXT_BYTES
from runledger.postgres import jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue

RETRYABLE_KINDS = [JobFailureKind.RETRYABLE, JobFailureKind.TIMEOUT]
FINAL_KINDS = [JobFailureKind.TERMINAL, JobFailureKind.PANICKED]


def failure_of(
    claimed: ClaimedJob,
    kind: JobFailureKind = JobFailureKind.RETRYABLE,
    *,
    error_code: str = "smtp.busy",
    error_message: str = "try later",
    retry_delay: timedelta = timedelta(),
) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(
        lease=claimed.lease, kind=kind, error_code=error_code, error_message=error_message, retry_delay=retry_delay
    )


@pytest.mark.parametrize("kind", RETRYABLE_KINDS)
def test_a_retryable_failure_with_attempts_left_makes_the_job_due_after_the_delay(
    queue: JobQueue, kind: JobFailureKind
) -> None:
    """LIFE-019, LIFE-022."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)

    is_dead_letter = queue.run(jobs.fail_job(failure_of(claimed, kind, retry_delay=MINUTE), now=now))

    assert is_dead_letter is False
    job = queue.job(claimed.job_id)
    assert (job.status, job.attempt, job.next_run_at) == (JobStatus.PENDING, 1, now + MINUTE)
    assert (job.worker_id, job.lease_expires_at, job.last_heartbeat_at) == (None, None, None)
    assert (job.status_reason, job.last_error_code, job.last_error_message) == (kind, "smtp.busy", "try later")
    assert (job.finished_at, job.updated_at) == (None, now)


def test_a_retryable_failure_closes_the_attempt_with_outcome_errors_and_delay(queue: JobQueue) -> None:
    """LIFE-020."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)

    queue.run(jobs.fail_job(failure_of(claimed, retry_delay=MINUTE), now=now))

    (attempt,) = queue.attempts(claimed.job_id)
    assert (attempt.finished_at, attempt.outcome) == (now, JobFailureKind.RETRYABLE)
    assert (attempt.error_code, attempt.error_message, attempt.retry_delay_ms) == ("smtp.busy", "try later", 60_000)


def test_a_retry_writes_failed_and_then_retry_scheduled(queue: JobQueue) -> None:
    """LIFE-021."""
    claimed = queue.enqueue_and_claim()

    queue.run(jobs.fail_job(failure_of(claimed, retry_delay=MINUTE)))

    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "FAILED", "RETRY_SCHEDULED"]
    failed, scheduled = queue.events(claimed.job_id)[-2:]
    assert failed.payload == {"kind": "RETRYABLE", "error_code": "smtp.busy", "error_message": "try later"}
    due_at = queue.job(claimed.job_id).next_run_at
    assert scheduled.payload == {
        "retry_delay_ms": 60_000,
        "next_run_at": due_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    assert (failed.run_number, failed.attempt, scheduled.attempt) == (1, 1, 1)


@pytest.mark.parametrize(
    ("retry_delay", "retry_delay_ms"),
    [(timedelta(), 0), (-MINUTE, 0), (timedelta(microseconds=1), 1), (timedelta(days=1_000), 2**31 - 1)],
    ids=["none", "negative", "below the unit", "more than the column holds"],
)
def test_a_delay_is_kept_in_the_range_of_its_column(
    queue: JobQueue, retry_delay: timedelta, retry_delay_ms: int
) -> None:
    """LIFE-029."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at

    queue.run(jobs.fail_job(failure_of(claimed, retry_delay=retry_delay), now=now))

    assert queue.attempts(claimed.job_id)[0].retry_delay_ms == retry_delay_ms
    assert queue.job(claimed.job_id).next_run_at == now + timedelta(milliseconds=retry_delay_ms)


def test_stage_progress_checkpoint_and_start_survive_a_retry(queue: JobQueue) -> None:
    """LIFE-030."""
    claimed = queue.enqueue_and_claim()
    queue.sql("""
        UPDATE job_queue
           SET stage = 'uploading', progress_done = 2, progress_total = 4, checkpoint = '{"page": 2}'""")

    queue.run(jobs.fail_job(failure_of(claimed)))

    job = queue.job(claimed.job_id)
    assert (job.stage, job.progress_done, job.progress_total) == ("uploading", 2, 4)
    assert (job.checkpoint, job.started_at) == ({"page": 2}, claimed.leased_at)


@pytest.mark.parametrize("kind", FINAL_KINDS)
def test_a_final_failure_with_attempts_left_dead_letters_at_once(queue: JobQueue, kind: JobFailureKind) -> None:
    """LIFE-023, LIFE-024, LIFE-031, LIFE-032."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)
    due_at = queue.job(claimed.job_id).next_run_at

    is_dead_letter = queue.run(jobs.fail_job(failure_of(claimed, kind, retry_delay=MINUTE), now=now))

    assert is_dead_letter is True
    job = queue.job(claimed.job_id)
    assert (job.status, job.finished_at, job.next_run_at) == (JobStatus.DEAD_LETTERED, now, due_at)
    assert (job.status_reason, job.last_error_code, job.last_error_message) == (kind, "smtp.busy", "try later")
    assert (job.worker_id, job.lease_expires_at, job.last_heartbeat_at) == (None, None, None)
    (attempt,) = queue.attempts(claimed.job_id)
    assert (attempt.outcome, attempt.finished_at, attempt.retry_delay_ms) == (kind, now, None)
    assert (attempt.error_code, attempt.error_message) == ("smtp.busy", "try later")


@pytest.mark.parametrize("kind", RETRYABLE_KINDS)
def test_a_retryable_failure_of_the_last_attempt_dead_letters(queue: JobQueue, kind: JobFailureKind) -> None:
    """LIFE-025, LIFE-031, LIFE-032."""
    claimed = queue.enqueue_and_claim(max_attempts=1)

    assert queue.run(jobs.fail_job(failure_of(claimed, kind, retry_delay=MINUTE))) is True

    job = queue.job(claimed.job_id)
    assert (job.status, job.status_reason) == (JobStatus.DEAD_LETTERED, kind)
    assert queue.attempts(claimed.job_id)[0].retry_delay_ms is None


def test_a_dead_letter_writes_failed_and_then_dead_lettered(queue: JobQueue) -> None:
    """LIFE-026."""
    claimed = queue.enqueue_and_claim()

    queue.run(jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)))

    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "FAILED", "DEAD_LETTERED"]
    failed, dead_lettered = queue.events(claimed.job_id)[-2:]
    assert failed.payload == {"kind": "TERMINAL", "error_code": "smtp.busy", "error_message": "try later"}
    assert dead_lettered.payload == {"kind": "TERMINAL", "error_code": "smtp.busy"}


def test_a_dead_letter_keeps_payload_checkpoint_run_and_attempt(queue: JobQueue) -> None:
    """LIFE-027."""
    claimed = queue.enqueue_and_claim({"to": "a@example.org"})
    queue.sql("UPDATE job_queue SET checkpoint = '[1]'")

    queue.run(jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)))

    letter = queue.dead_letter(claimed.job_id)
    assert letter is not None
    assert (letter.payload_snapshot, letter.checkpoint_snapshot) == ({"to": "a@example.org"}, [1])
    assert (letter.job_type, letter.organization_id) == (claimed.job_type, None)
    assert (letter.run_number, letter.attempt, letter.error_code) == (1, 1, "smtp.busy")
    assert letter.failed_at == queue.job(claimed.job_id).finished_at


def test_a_second_dead_letter_of_a_job_replaces_the_first(queue: JobQueue) -> None:
    """LIFE-028."""
    claimed = queue.enqueue_and_claim()
    queue.run(jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)))
    queue.sql("UPDATE job_queue SET status = 'PENDING', run_number = 2, attempt = 0")
    again = queue.claim_one()

    queue.run(jobs.fail_job(failure_of(again, JobFailureKind.PANICKED, error_code="job.handler_panic")))

    letter = queue.dead_letter(claimed.job_id)
    assert letter is not None
    assert (letter.run_number, letter.attempt, letter.error_code) == (2, 1, "job.handler_panic")
    assert [(attempt.run_number, attempt.outcome) for attempt in queue.attempts(claimed.job_id)] == [
        (1, JobFailureKind.TERMINAL),
        (2, JobFailureKind.PANICKED),
    ]


@pytest.mark.parametrize("max_attempts", [1, 2])
@pytest.mark.parametrize("kind", JobFailureKind)
def test_the_database_decides_as_the_rule_in_core(queue: JobQueue, kind: JobFailureKind, max_attempts: int) -> None:
    claimed = queue.enqueue_and_claim(max_attempts=max_attempts)
    decision = decide_failure(kind, claimed.attempt, claimed.max_attempts, 1_000)

    is_dead_letter = queue.run(jobs.fail_job(failure_of(claimed, kind, retry_delay=timedelta(seconds=1))))

    assert is_dead_letter is not isinstance(decision, RetryDecision)


def test_texts_of_a_handler_are_made_fit_for_storage(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    message = 'nul \0 surrogate \ud800 quote " backslash \\ percent %s ' + "\N{SNOWMAN}" * MAX_ERROR_TEXT_BYTES

    queue.run(jobs.fail_job(failure_of(claimed, error_code="code\0", error_message=message)))

    job = queue.job(claimed.job_id)
    assert job.last_error_code == "code"
    assert job.last_error_message is not None
    assert job.last_error_message.startswith(
        'nul  surrogate \N{REPLACEMENT CHARACTER} quote " backslash \\ percent %s '
    )
    assert len(job.last_error_message.encode()) <= MAX_ERROR_TEXT_BYTES
    failed: Any = queue.events(claimed.job_id)[2].payload
    assert failed["error_message"] == job.last_error_message == queue.attempts(claimed.job_id)[0].error_message


def test_a_batch_gives_each_job_its_own_end(queue: JobQueue) -> None:
    for number in range(4):
        queue.enqueue(number, max_attempts=1 if number == 1 else 3)
    retried, exhausted, final, lost = queue.claim()
    queue.sql("UPDATE job_queue SET lease_expires_at = clock_timestamp() WHERE id = %s", lost.job_id)
    failures = [
        failure_of(retried, error_code="a", retry_delay=MINUTE),
        failure_of(exhausted, error_code="b"),
        failure_of(final, JobFailureKind.TERMINAL, error_code="c"),
        failure_of(lost, error_code="d"),
    ]

    outcomes = queue.run(jobs.fail_jobs(WORKER, failures))

    assert outcomes == {retried.job_id: False, exhausted.job_id: True, final.job_id: True}
    ends = {claim.job_id: queue.job(claim.job_id) for claim in (retried, exhausted, final, lost)}
    assert [(job.status, job.last_error_code) for job in ends.values()] == [
        (JobStatus.PENDING, "a"),
        (JobStatus.DEAD_LETTERED, "b"),
        (JobStatus.DEAD_LETTERED, "c"),
        (JobStatus.LEASED, None),
    ]
    assert queue.event_types(final.job_id)[-2:] == ["FAILED", "DEAD_LETTERED"]
    assert queue.event_types(retried.job_id)[-2:] == ["FAILED", "RETRY_SCHEDULED"]
    assert queue.attempts(lost.job_id)[0].finished_at is None
