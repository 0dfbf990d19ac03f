"""A job that another transaction has locked: batches go around it, single writes wait and judge afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import Admin, ClaimedJob, JobFailureKind, JobProgress, JobStatus
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue
from tests.races.session import Session

HOUR = timedelta(hours=1)


def failure_of(claim: ClaimedJob) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(
        lease=claim.lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message"
    )


def progress_of(claim: ClaimedJob, **fields: Any) -> jobs.JobProgressUpdate:
    progress = JobProgress(**fields) if fields else JobProgress(stage="sending", progress_done=1, checkpoint=[1])
    return jobs.JobProgressUpdate(lease=claim.lease, progress=progress)


Claims = list[ClaimedJob]

BATCHES: dict[str, Callable[[Claims], Operation[Collection[UUID]]]] = {
    "renew": lambda claims: jobs.renew_leases(WORKER, [claim.lease for claim in claims], lease_ttl=MINUTE),
    "complete": lambda claims: jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claim.lease) for claim in claims]),
    "fail": lambda claims: jobs.fail_jobs(WORKER, [failure_of(claim) for claim in claims]),
    "progress": lambda claims: jobs.update_progress_of_jobs(WORKER, [progress_of(claim) for claim in claims]),
    "return": lambda claims: jobs.return_claims(WORKER, [claim.lease for claim in claims], reason="SHUTDOWN"),
}

SINGLE_WRITES: dict[str, Callable[[ClaimedJob], Operation[object]]] = {
    "heartbeat": lambda claim: jobs.heartbeat_job(claim.lease, lease_ttl=MINUTE),
    "complete": lambda claim: jobs.complete_job(jobs.JobSuccess(lease=claim.lease)),
    "fail": lambda claim: jobs.fail_job(failure_of(claim)),
    "progress": lambda claim: jobs.update_job_progress(progress_of(claim)),
}

EVERY_SINGLE_WRITE = pytest.mark.parametrize("write", SINGLE_WRITES.values(), ids=SINGLE_WRITES)


def claims_of(queue: JobQueue, count: int) -> Claims:
    for number in range(count):
        queue.enqueue(number)
    return queue.claim()


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_foreign_key_of_the_application_stops_no_worker(
    queue: JobQueue, first: Session, batch: Callable[[Claims], Operation[Collection[UUID]]]
) -> None:
    queue.sql("CREATE TABLE public.orders (job_id uuid REFERENCES job_queue (id))")
    claims = claims_of(queue, 2)
    first.sql("INSERT INTO public.orders VALUES (%s)", claims[0].job_id)

    assert set(queue.run(batch(claims))) == {claim.job_id for claim in claims}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_batch_goes_around_a_locked_job_and_takes_its_neighbours(
    queue: JobQueue, first: Session, batch: Callable[[Claims], Operation[Collection[UUID]]]
) -> None:
    claims = claims_of(queue, 3)
    locked = claims[1]
    first.lock(locked.job_id)

    outcome = queue.run(batch(claims))
    still_held = queue.run(jobs.read_held_leases(WORKER, [claim.lease for claim in claims]))

    assert set(outcome) == {claims[0].job_id, claims[2].job_id}
    assert locked.job_id in still_held, "it was busy, not lost"
    first.rollback()
    assert set(queue.run(batch([locked]))) == {locked.job_id}


def test_a_reaper_goes_around_a_locked_job(queue: JobQueue, first: Session) -> None:
    claims = claims_of(queue, 3)
    first.lock(claims[1].job_id)
    reap = jobs.reap_expired_leases(limit=10, retry_delay=MINUTE, now=claims[0].lease_expires_at + HOUR)

    assert queue.run(reap).processed_count == 2
    assert queue.job(claims[1].job_id).status is JobStatus.LEASED
    first.rollback()
    assert queue.run(reap).processed_count == 1


@EVERY_SINGLE_WRITE
def test_a_single_write_waits_for_the_lock(
    queue: JobQueue, first: Session, second: Session, write: Callable[[ClaimedJob], Operation[object]]
) -> None:
    (claim,) = claims_of(queue, 1)
    first.lock(claim.job_id)

    waiting = second.begin(write(claim), queue)
    first.rollback()
    waiting.result()
    second.commit()

    assert len(queue.events(claim.job_id)) > 2


@EVERY_SINGLE_WRITE
def test_a_single_write_judges_the_expiry_by_the_clock_after_it_has_the_lock(
    queue: JobQueue, first: Session, second: Session, write: Callable[[ClaimedJob], Operation[object]]
) -> None:
    """LIFE-008, LIFE-033.

    The lease ends after the write began to wait and before it gets the lock. Only a clock that is read afterwards sees
    that it has ended: by the start of the transaction, or of the waiting statement, the lease is alive.
    """
    (claim,) = claims_of(queue, 1)
    first.lock(claim.job_id)
    waiting = second.begin(write(claim), queue)
    first.sql("UPDATE runledger.job_queue SET lease_expires_at = clock_timestamp()")
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        waiting.result()

    second.rollback()
    job = queue.job(claim.job_id)
    assert (job.status, job.stage, job.progress_done, job.checkpoint) == (JobStatus.LEASED, "queued", None, None)
    assert queue.event_types(claim.job_id) == ["ENQUEUED", "LEASED"]


@EVERY_SINGLE_WRITE
def test_a_single_write_that_waited_for_a_cancel_is_refused(
    queue: JobQueue, first: Session, second: Session, write: Callable[[ClaimedJob], Operation[object]]
) -> None:
    (claim,) = claims_of(queue, 1)
    first.run(jobs.cancel_job(claim.job_id, scope=Admin()))

    waiting = second.begin(write(claim), queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        waiting.result()


def test_a_renewal_that_waited_behind_keeps_the_lease_for_the_completion(
    queue: JobQueue, first: Session, second: Session
) -> None:
    (claim,) = claims_of(queue, 1)
    first.run(jobs.heartbeat_job(claim.lease, lease_ttl=HOUR))

    waiting = second.begin(jobs.complete_job(jobs.JobSuccess(lease=claim.lease)), queue)
    first.commit()
    waiting.result()
    second.commit()

    assert queue.event_types(claim.job_id) == ["ENQUEUED", "LEASED", "HEARTBEAT", "SUCCEEDED"]


@pytest.mark.parametrize("is_done_first", [True, False])
def test_of_two_updates_that_are_valid_only_apart_one_is_stored_and_the_lease_stays_usable(
    queue: JobQueue, first: Session, second: Session, *, is_done_first: bool
) -> None:
    """LIFE-034."""
    (claim,) = claims_of(queue, 1)
    updates = [progress_of(claim, progress_done=5), progress_of(claim, progress_total=3)]
    stored, refused = updates if is_done_first else reversed(updates)
    first.run(jobs.update_job_progress(stored))

    waiting = second.begin(jobs.update_job_progress(refused), queue)
    first.commit()
    with pytest.raises(QueryError, check=lambda error: error.code == "db.business_rule_violation"):
        waiting.result()
    second.commit()

    job = queue.job(claim.job_id)
    assert (job.progress_done, job.progress_total) == ((5, None) if is_done_first else (None, 3))
    assert queue.event_types(claim.job_id) == ["ENQUEUED", "LEASED", "PROGRESS"]
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claim.lease)))


@pytest.mark.parametrize("kind", ["complete", "fail"])
def test_a_lock_timeout_bounds_the_wait_and_nothing_is_written(queue: JobQueue, first: Session, kind: str) -> None:
    (claim,) = claims_of(queue, 1)
    first.lock(claim.job_id)
    bound = timedelta(milliseconds=20)
    operation: Operation[object] = (
        jobs.complete_job(jobs.JobSuccess(lease=claim.lease), lock_timeout=bound)
        if kind == "complete"
        else jobs.fail_job(failure_of(claim), lock_timeout=bound)
    )

    with pytest.raises(QueryError, check=lambda error: error.sqlstate == "55P03"):
        queue.run(operation)

    first.rollback()
    assert queue.job(claim.job_id).status is JobStatus.LEASED
    queue.run(operation)


def test_batches_that_overlap_share_the_jobs_between_them(queue: JobQueue, first: Session, second: Session) -> None:
    claims = claims_of(queue, 20)
    forwards = jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claim.lease) for claim in claims[:15]])
    backwards = jobs.fail_jobs(WORKER, [failure_of(claim) for claim in reversed(claims[5:])])

    completed, failed = first.run(forwards), second.run(backwards)
    first.commit()
    second.commit()

    assert completed | set(failed) == {claim.job_id for claim in claims}
    assert not completed & set(failed)


def test_a_lock_timeout_ends_with_its_transaction(queue: JobQueue, first: Session, second: Session) -> None:
    claimed = queue.enqueue_and_claim()
    first.lock(claimed.job_id)

    success = jobs.JobSuccess(lease=claimed.lease)
    completion = second.begin(jobs.complete_job(success, lock_timeout=timedelta(seconds=5)), queue)
    first.rollback()
    completion.result()
    inside = second.sql("SHOW lock_timeout")
    second.commit()

    assert (inside, second.sql("SHOW lock_timeout")) == ([("5s",)], [("0",)])
    assert queue.job(claimed.job_id).status is JobStatus.SUCCEEDED
