"""Two transactions that enqueue with the same key at the same time."""

from __future__ import annotations

import dataclasses
from uuid import uuid4

import pytest

from runledger.core import EnqueueRequest, JobStatus
from runledger.postgres import QueryError, jobs
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue
from tests.races.session import Session

REQUEST = EnqueueRequest(JOB_TYPE, {"n": 1}, idempotency_key="order-17")
OTHER = dataclasses.replace(REQUEST, priority=7)
IN_ORGANIZATION = dataclasses.replace(REQUEST, organization_id=uuid4())


@pytest.mark.parametrize("request_", [REQUEST, IN_ORGANIZATION], ids=["global", "organisation"])
def test_a_twin_waits_and_gets_the_same_job(
    queue: JobQueue, first: Session, second: Session, request_: EnqueueRequest
) -> None:
    """ENQ-014."""
    job_id = first.run(jobs.enqueue_job(request_))

    waiting = second.begin(jobs.enqueue_job(request_), queue)
    first.commit()

    assert waiting.result() == job_id
    second.commit()
    assert queue.event_types(job_id) == ["ENQUEUED"]
    assert queue.sql("SELECT count(*) FROM job_queue") == [(1,)]


def test_a_different_request_with_the_key_waits_and_is_refused(
    queue: JobQueue, first: Session, second: Session
) -> None:
    first.run(jobs.enqueue_job(REQUEST))

    waiting = second.begin(jobs.enqueue_job(OTHER), queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job.idempotency_conflict"):
        waiting.result()


def test_a_request_whose_twin_rolls_back_makes_the_job(queue: JobQueue, first: Session, second: Session) -> None:
    lost = first.run(jobs.enqueue_job(REQUEST))

    waiting = second.begin(jobs.enqueue_job(OTHER), queue)
    first.rollback()
    job_id = waiting.result()
    second.commit()

    assert job_id != lost
    assert queue.job(job_id).priority == 7


def test_batches_with_common_keys_in_opposite_order_do_not_deadlock(
    queue: JobQueue, first: Session, second: Session
) -> None:
    organization = uuid4()
    requests = [
        dataclasses.replace(REQUEST, idempotency_key=key, organization_id=scope)
        for key in ("a", "b", "c")
        for scope in (None, organization)
    ]
    ids = first.run(jobs.enqueue_jobs(requests[:4]))

    waiting = second.begin(jobs.enqueue_jobs(requests[::-1]), queue)
    # Had the second taken its keys in the order it was given them, it would hold what the first asks for now.
    ids += first.run(jobs.enqueue_jobs(requests[4:]))
    first.commit()

    assert waiting.result() == ids[::-1]


def test_a_repeated_request_in_an_open_transaction_does_not_stop_the_worker(queue: JobQueue, first: Session) -> None:
    job_id = queue.run(jobs.enqueue_job(REQUEST))
    assert first.run(jobs.enqueue_job(REQUEST)) == job_id

    claim = queue.claim_one()
    completed = queue.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=claim.lease)]))

    assert completed == {job_id}
    assert queue.job(job_id).status is JobStatus.SUCCEEDED
