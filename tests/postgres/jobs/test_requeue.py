"""Requeue: a new run of a finished job, at once or only if it still is what the caller saw."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    CancellationNotQuiesced,
    ClaimedJob,
    ExpectationMismatch,
    Global,
    InvalidArgumentError,
    JobEventType,
    JobFailureKind,
    JobProgress,
    JobRecord,
    JobStatus,
    Organization,
    Requeued,
    RequeueOutcome,
)
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import MINUTE, JobQueue

ORGANIZATION = UUID("018fa1f8-0000-7000-8000-0000000000aa")

SUCCEEDED, DEAD_LETTERED, CANCELED = JobStatus.SUCCEEDED, JobStatus.DEAD_LETTERED, JobStatus.CANCELED
EVERY_END = pytest.mark.parametrize("end", [SUCCEEDED, DEAD_LETTERED, CANCELED])


def finish(queue: JobQueue, claimed: ClaimedJob, end: JobStatus) -> JobRecord:
    """End a job that is claimed, after it has reported progress."""
    progress = JobProgress(stage="sending", progress_done=1, progress_total=2, checkpoint={"page": 1})
    queue.run(jobs.update_job_progress(jobs.JobProgressUpdate(lease=claimed.lease, progress=progress)))
    ends: dict[JobStatus, Operation[object]] = {
        SUCCEEDED: jobs.complete_job(jobs.JobSuccess(lease=claimed.lease, output_json="[1]")),
        DEAD_LETTERED: jobs.fail_job(
            jobs.AttemptFailure(
                lease=claimed.lease, kind=JobFailureKind.TERMINAL, error_code="code", error_message="message"
            )
        ),
        CANCELED: jobs.cancel_job(claimed.job_id, scope=Admin()),
    }
    queue.run(ends[end])
    job = queue.job(claimed.job_id)
    assert job.status is end
    return job


def requeue(queue: JobQueue, job_id: UUID, **arguments: Any) -> JobRecord:
    scope = arguments.pop("scope", Admin())
    return queue.run(jobs.requeue_job(job_id, scope=scope, **arguments))


def compare(queue: JobQueue, job: JobRecord, **arguments: Any) -> RequeueOutcome:
    expected: dict[str, Any] = {
        "scope": Admin(),
        "expected_status": job.status,
        "expected_run_number": job.run_number,
    }
    return queue.run(jobs.compare_and_requeue_job(job.id, **expected | arguments))


@EVERY_END
def test_a_finished_job_starts_over_in_a_new_run(queue: JobQueue, end: JobStatus) -> None:
    """ADM-009, ADM-010."""
    claimed = queue.enqueue_and_claim({"to": "a"}, max_attempts=2)
    before = finish(queue, claimed, end)
    now = claimed.leased_at + MINUTE

    requeued = requeue(queue, claimed.job_id, reason="repaired", now=now)

    assert requeued == queue.job(claimed.job_id)
    assert (requeued.status, requeued.run_number, requeued.attempt) == (JobStatus.PENDING, 2, 0)
    assert (requeued.stage, requeued.status_reason) == ("queued", "repaired")
    assert (requeued.next_run_at, requeued.updated_at) == (now, now)
    cleared = (
        "progress_done progress_total checkpoint output started_at finished_at last_error_code last_error_message "
        "worker_id lease_expires_at last_heartbeat_at"
    )
    assert {getattr(requeued, name) for name in cleared.split()} == {None}
    for kept in ("payload", "priority", "max_attempts", "timeout_seconds", "created_at", "organization_id"):
        assert getattr(requeued, kept) == getattr(before, kept)
    assert queue.claim_one(now=now).attempt == 1


@EVERY_END
def test_the_event_belongs_to_the_run_and_the_attempt_that_ended(queue: JobQueue, end: JobStatus) -> None:
    """ADM-011."""
    claimed = queue.enqueue_and_claim()
    finish(queue, claimed, end)

    requeue(queue, claimed.job_id)

    event = queue.events(claimed.job_id)[-1]
    assert (event.event_type, event.run_number, event.attempt) == (JobEventType.REQUEUED, 1, 1)
    assert event.payload == {"reason": "REQUEUED"}
    assert queue.job(claimed.job_id).status_reason == "REQUEUED"


def test_the_event_of_a_job_that_was_never_claimed_has_no_attempt(queue: JobQueue) -> None:
    """ADM-011."""
    job_id = queue.enqueue()
    queue.run(jobs.cancel_job(job_id, scope=Admin()))

    requeue(queue, job_id)

    assert queue.events(job_id)[-1].attempt is None


def test_the_idempotency_key_and_its_snapshot_stay(queue: JobQueue) -> None:
    """ADM-009."""
    claimed = queue.enqueue_and_claim()
    finish(queue, claimed, SUCCEEDED)
    queue.sql("UPDATE job_queue SET idempotency_key = 'order-17', enqueue_request = '{}'")

    requeue(queue, claimed.job_id)

    assert queue.sql("SELECT idempotency_key, enqueue_request FROM job_queue") == [("order-17", {})]


@pytest.mark.parametrize("is_claimed", [False, True], ids=["PENDING", "LEASED"])
def test_a_job_that_has_not_ended_is_not_requeued(queue: JobQueue, *, is_claimed: bool) -> None:
    """ADM-012."""
    job_id = queue.enqueue()
    if is_claimed:
        queue.claim()
    before = queue.job(job_id)

    with pytest.raises(QueryError, check=lambda error: error.code == "job.invalid_state_transition"):
        requeue(queue, job_id)

    assert queue.job(job_id) == before


def make_workflow_job(queue: JobQueue, job_id: UUID) -> None:
    run_id, step_id = uuid4(), uuid4()
    queue.sql("INSERT INTO workflow_runs (id, workflow_type) VALUES (%s, 'order')", run_id)
    queue.sql(
        "WITH step AS (INSERT INTO workflow_steps (id, workflow_run_id, step_key, job_type, priority, max_attempts,"
        " timeout_seconds, stage, job_id) VALUES (%s, %s, 'send', 'email.send', 1, 1, 1, 'queued', %s))"
        " UPDATE job_queue SET workflow_step_id = %s WHERE id = %s",
        step_id,
        run_id,
        job_id,
        step_id,
        job_id,
    )


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_job_of_a_workflow_is_not_requeued_whatever_its_status(queue: JobQueue, *, is_finished: bool) -> None:
    """ADM-013."""
    claimed = queue.enqueue_and_claim()
    make_workflow_job(queue, claimed.job_id)
    if is_finished:
        finish(queue, claimed, CANCELED)
    before = queue.job(claimed.job_id)

    for operation in (
        jobs.requeue_job(claimed.job_id, scope=Admin()),
        jobs.compare_and_requeue_job(
            claimed.job_id, scope=Admin(), expected_status=CANCELED, expected_run_number=before.run_number
        ),
    ):
        with pytest.raises(QueryError, check=lambda error: error.code == "job.workflow_requeue_not_supported"):
            queue.run(operation)

    assert queue.job(claimed.job_id) == before


def test_the_dead_letter_outlives_the_requeue(queue: JobQueue) -> None:
    """ADM-015. A second one then overwrites it (LIFE-028)."""
    claimed = queue.enqueue_and_claim()
    finish(queue, claimed, DEAD_LETTERED)
    letter = queue.dead_letter(claimed.job_id)

    requeue(queue, claimed.job_id)

    assert letter is not None
    assert queue.dead_letter(claimed.job_id) == letter
    finish(queue, queue.claim_one(), DEAD_LETTERED)
    second = queue.dead_letter(claimed.job_id)
    assert second is not None
    assert second.run_number == 2


@pytest.mark.parametrize("is_compared", [False, True])
def test_a_job_outside_the_scope_is_not_found(queue: JobQueue, *, is_compared: bool) -> None:
    queue.enqueue(organization_id=ORGANIZATION)
    before = finish(queue, queue.claim_one(), SUCCEEDED)

    for scope in (Global(), Organization(uuid4())):
        with pytest.raises(QueryError, check=lambda error: error.code == "job.not_found"):
            compare(queue, before, scope=scope) if is_compared else requeue(queue, before.id, scope=scope)

    assert queue.job(before.id) == before


# Compare and requeue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [SUCCEEDED, DEAD_LETTERED])
def test_a_job_that_is_what_the_caller_saw_is_requeued(queue: JobQueue, end: JobStatus) -> None:
    seen = finish(queue, queue.enqueue_and_claim(), end)

    outcome = compare(queue, seen, reason="repaired")

    assert outcome == Requeued(job=queue.job(seen.id))
    assert (queue.job(seen.id).run_number, queue.job(seen.id).status_reason) == (2, "repaired")


def test_the_second_of_two_who_saw_the_same_gets_the_difference(queue: JobQueue) -> None:
    seen = finish(queue, queue.enqueue_and_claim(), SUCCEEDED)
    compare(queue, seen)

    assert compare(queue, seen) == ExpectationMismatch(status=JobStatus.PENDING, run_number=2)
    finish(queue, queue.claim_one(), SUCCEEDED)
    assert compare(queue, seen) == ExpectationMismatch(status=SUCCEEDED, run_number=2)
    assert queue.job(seen.id).run_number == 2


def test_a_canceled_job_waits_until_its_lease_would_have_ended(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    seen = finish(queue, claimed, CANCELED)
    early = timedelta(seconds=1)

    refused = compare(queue, seen, now=claimed.lease_expires_at - early)
    after_refusal = queue.job(claimed.job_id)
    done = compare(queue, seen, now=claimed.lease_expires_at)

    assert refused == CancellationNotQuiesced(retry_after=early)
    assert after_refusal == seen
    assert isinstance(done, Requeued)


def test_a_job_that_was_canceled_while_pending_waits_for_nothing(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    seen = queue.run(jobs.cancel_job(job_id, scope=Admin()))

    assert isinstance(compare(queue, seen), Requeued)


def test_a_requeue_at_once_does_not_forget_the_handler_of_the_canceled_lease(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    finish(queue, claimed, CANCELED)
    requeue(queue, claimed.job_id)
    seen = queue.run(jobs.cancel_job(claimed.job_id, scope=Admin()))

    assert isinstance(compare(queue, seen), CancellationNotQuiesced)


@pytest.mark.parametrize("keeps_progress", [False, True])
def test_progress_is_kept_when_asked_for(queue: JobQueue, *, keeps_progress: bool) -> None:
    seen = finish(queue, queue.enqueue_and_claim(), DEAD_LETTERED)

    compare(queue, seen, keeps_progress=keeps_progress)

    job = queue.job(seen.id)
    kept = (1, 2, {"page": 1}) if keeps_progress else (None, None, None)
    assert (job.progress_done, job.progress_total, job.checkpoint) == kept
    assert job.stage == "queued"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"expected_status": JobStatus.PENDING}, "expected_status"),
        ({"expected_status": "SUCCEEDED"}, "expected_status"),
        ({"expected_run_number": 0}, "expected_run_number"),
        ({"reason": " "}, "reason"),
    ],
    ids=["status", "text", "run", "reason"],
)
def test_an_argument_that_breaks_a_rule_is_named(queue: JobQueue, arguments: dict[str, Any], field: str) -> None:
    seen = finish(queue, queue.enqueue_and_claim(), SUCCEEDED)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        compare(queue, seen, **arguments)

    assert queue.job(seen.id) == seen
