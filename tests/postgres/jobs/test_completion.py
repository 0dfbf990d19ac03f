"""Complete: what a success writes, alone and in a batch."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runledger.core import InvalidArgumentError, JobFailureKind, JobStatus, JsonValue
from runledger.postgres import QueryError, jobs
from tests.postgres.job_queue import WORKER, JobQueue


def test_a_success_ends_the_job(queue: JobQueue) -> None:
    """LIFE-015, LIFE-017."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=5)

    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease), now=now))

    job = queue.job(claimed.job_id)
    assert (job.status, job.stage, job.finished_at, job.updated_at) == (JobStatus.SUCCEEDED, "completed", now, now)
    assert (job.worker_id, job.lease_expires_at, job.last_heartbeat_at) == (None, None, None)
    assert (job.started_at, job.output) == (claimed.leased_at, None)


def test_a_success_closes_the_attempt_without_outcome_and_clears_earlier_errors(queue: JobQueue) -> None:
    """LIFE-017."""
    first = queue.enqueue_and_claim()
    failure = jobs.AttemptFailure(
        lease=first.lease, kind=JobFailureKind.RETRYABLE, error_code="smtp.busy", error_message="try later"
    )
    queue.run(jobs.fail_job(failure))
    (before,) = queue.attempts(first.job_id)
    second = queue.claim_one()

    queue.run(jobs.complete_job(jobs.JobSuccess(lease=second.lease)))

    job = queue.job(first.job_id)
    assert (job.status_reason, job.last_error_code, job.last_error_message) == (None, None, None)
    failed, succeeded = queue.attempts(first.job_id)
    assert (failed.outcome, failed.error_code) == (JobFailureKind.RETRYABLE, "smtp.busy")
    assert failed.finished_at == before.finished_at
    assert succeeded.finished_at == job.finished_at
    assert (succeeded.outcome, succeeded.error_code, succeeded.error_message) == (None, None, None)


def test_a_success_writes_one_event(queue: JobQueue) -> None:
    """LIFE-018."""
    claimed = queue.enqueue_and_claim()

    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))

    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "SUCCEEDED"]
    event = queue.events(claimed.job_id)[-1]
    assert (event.run_number, event.attempt, event.stage, event.payload) == (1, 1, "completed", {})
    assert (event.progress_done, event.progress_total) == (None, None)


def test_a_second_success_is_refused(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    success = jobs.complete_job(jobs.JobSuccess(lease=claimed.lease))
    queue.run(success)

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        queue.run(success)

    assert queue.event_types(claimed.job_id).count("SUCCEEDED") == 1


@pytest.mark.parametrize(
    ("output_json", "stored", "output"),
    [(None, None, None), ("null", "null", None), ('{"sent":2}', "object", {"sent": 2}), ('"x"', "string", "x")],
    ids=["none", "JSON null", "object", "text"],
)
def test_the_output_is_kept(queue: JobQueue, output_json: str | None, stored: str | None, output: JsonValue) -> None:
    claimed = queue.enqueue_and_claim()

    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease, output_json=output_json)))

    assert queue.sql("SELECT jsonb_typeof(output) FROM job_queue") == [(stored,)]
    assert queue.job(claimed.job_id).output == output


def test_a_batch_completes_each_job_with_its_own_output(queue: JobQueue) -> None:
    for number in range(5):
        queue.enqueue(number)
    claims = queue.claim()
    successes = [jobs.JobSuccess(lease=claim.lease, output_json=claim.payload_json) for claim in claims]

    completed = queue.run(jobs.complete_jobs(WORKER, successes))

    assert completed == {claim.job_id for claim in claims}
    for claim in claims:
        job = queue.job(claim.job_id)
        assert (job.status, job.output) == (JobStatus.SUCCEEDED, claim.payload)
        assert queue.attempts(claim.job_id)[0].finished_at == job.finished_at
        assert queue.event_types(claim.job_id) == ["ENQUEUED", "LEASED", "SUCCEEDED"]


def test_a_batch_completes_the_neighbours_of_a_lost_job(queue: JobQueue) -> None:
    for number in range(3):
        queue.enqueue(number)
    claims = queue.claim()
    lost = claims[1].job_id
    queue.sql("UPDATE job_queue SET lease_expires_at = clock_timestamp() WHERE id = %s", lost)

    completed = queue.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claim.lease) for claim in claims]))

    assert completed == {claims[0].job_id, claims[2].job_id}
    assert queue.job(lost).status is JobStatus.LEASED
    assert queue.attempts(lost)[0].finished_at is None
    assert queue.event_types(lost) == ["ENQUEUED", "LEASED"]


@pytest.mark.parametrize("run_wait", [timedelta(microseconds=500), timedelta(seconds=-1), timedelta(days=25)])
def test_a_wait_that_postgresql_cannot_bound_is_refused(queue: JobQueue, run_wait: timedelta) -> None:
    """Of half a millisecond none would be left, which is no bound at all."""
    success = jobs.JobSuccess(lease=queue.enqueue_and_claim().lease)

    with pytest.raises(InvalidArgumentError, match="run_wait: is too"):
        queue.run(jobs.complete_jobs(WORKER, [success], run_wait=run_wait))
