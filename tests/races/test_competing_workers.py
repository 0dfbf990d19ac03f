"""Workers and reapers that come at the same time share the work and never a job."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

from runledger.core import ClaimedJob, EnqueueRequest, JobDefinition, JobFailureKind, JobStatus
from runledger.postgres import Database, Operation, jobs
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER, JobQueue
from tests.races.session import Session

SECOND_WORKER = "worker-2"


def claim(worker_id: str, limit: int, job_types: Sequence[str] | None = None) -> Operation[list[ClaimedJob]]:
    return jobs.claim_jobs(worker_id, lease_ttl=MINUTE, limit=limit, job_types=job_types)


def test_a_claimer_goes_around_the_jobs_of_an_uncommitted_claim(
    queue: JobQueue, first: Session, second: Session
) -> None:
    """CLM-003."""
    ids = [queue.enqueue(number) for number in range(5)]

    mine = first.run(claim(WORKER, 3))
    yours = second.run(claim(SECOND_WORKER, 5))
    first.commit()
    second.commit()

    assert [job.job_id for job in mine] == ids[:3]
    assert [job.job_id for job in yours] == ids[3:]


def test_a_claim_of_many_types_locks_what_it_takes_and_no_more(
    queue: JobQueue, first: Session, second: Session
) -> None:
    """CLM-003: it looks at the first job of each type, and the next claimer finds those it did not take free."""
    types = [JOB_TYPE, "sms.send", "fax.send"]
    for job_type in types[1:]:
        queue.define(job_type)
    now = queue.clock()
    ids = [queue.enqueue(job_type=types[number % 3], run_at=now - MINUTE, priority=100 - number) for number in range(9)]

    mine = first.run(claim(WORKER, 2, types))
    yours = second.run(claim(SECOND_WORKER, 4, types))
    first.commit()
    second.commit()

    assert [job.job_id for job in mine] == ids[:2]
    assert [job.job_id for job in yours] == ids[2:6]


def test_the_jobs_of_a_claim_that_was_rolled_back_are_free_again(
    queue: JobQueue, first: Session, second: Session
) -> None:
    ids = [queue.enqueue(number) for number in range(2)]
    first.run(claim(WORKER, 2))
    assert second.run(claim(SECOND_WORKER, 2)) == []

    first.rollback()

    claimed = second.run(claim(SECOND_WORKER, 2))
    assert [(job.job_id, job.attempt) for job in claimed] == [(job_id, 1) for job_id in ids]


def test_claimers_that_drain_a_queue_together_get_every_job_once(queue: JobQueue) -> None:
    """CLM-003."""
    count = 400
    ids = queue.run(jobs.enqueue_jobs(EnqueueRequest(JOB_TYPE, number) for number in range(count)))
    everyone_is_there = threading.Barrier(4)

    def drain(number: int) -> list[UUID]:
        claimed: list[UUID] = []
        with Database(queue.url).own_sync_connection() as connection:
            everyone_is_there.wait(timeout=30)
            while len(batch := connection.run(claim(f"worker-{number}", 7))) > 0:
                claimed += [job.job_id for job in batch]
        return claimed

    with ThreadPoolExecutor(4) as threads:
        claimed = [job_id for batch in threads.map(drain, range(4)) for job_id in batch]

    assert Counter(claimed) == Counter(ids)
    assert queue.sql("SELECT count(*), count(DISTINCT job_id) FROM job_attempts") == [(count, count)]


def test_a_job_is_claimed_after_the_commit_of_its_enqueue_and_not_before(first: Session, second: Session) -> None:
    job_id = first.run(jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))

    before = second.run(claim(WORKER, 10))
    first.commit()
    after = second.run(claim(WORKER, 10))

    assert before == []
    assert [job.job_id for job in after] == [job_id]


def test_a_job_whose_enqueue_was_rolled_back_is_never_claimed(queue: JobQueue, first: Session) -> None:
    first.run(jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))
    first.rollback()

    assert queue.claim() == []


def test_a_retry_that_is_not_committed_is_not_claimed_again(queue: JobQueue, first: Session) -> None:
    held = queue.enqueue_and_claim()
    failure = jobs.AttemptFailure(
        lease=held.lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message"
    )
    first.run(jobs.fail_job(failure))

    before = queue.claim(SECOND_WORKER)
    first.commit()
    (after,) = queue.claim(SECOND_WORKER)

    assert before == []
    assert (after.job_id, after.attempt) == (held.job_id, 2)


def test_two_reapers_never_process_the_same_lease(queue: JobQueue, first: Session, second: Session) -> None:
    """RPR-015."""
    for number in range(4):
        queue.enqueue(number)
    claims = queue.claim()
    now = claims[0].lease_expires_at + MINUTE

    def reap(limit: int) -> Operation[jobs.ReapResult]:
        return jobs.reap_expired_leases(limit=limit, retry_delay=timedelta(), now=now)

    mine, yours = first.run(reap(2)), second.run(reap(4))
    first.commit()
    second.commit()

    assert (mine.processed_count, yours.processed_count) == (2, 2)
    for claimed in claims:
        assert queue.job(claimed.job_id).status is JobStatus.PENDING
        assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "FAILED", "RETRY_SCHEDULED"]


def test_a_reaper_and_a_completion_never_both_end_the_attempt(queue: JobQueue, first: Session, second: Session) -> None:
    claimed = queue.enqueue_and_claim()
    first.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))

    reaped = second.run(jobs.reap_expired_leases(limit=10, retry_delay=MINUTE, now=claimed.lease_expires_at + MINUTE))
    first.commit()
    second.commit()

    assert reaped.processed_count == 0
    assert queue.event_types(claimed.job_id) == ["ENQUEUED", "LEASED", "SUCCEEDED"]


def test_two_writers_of_the_same_definitions_in_opposite_order_never_deadlock(
    queue: JobQueue, first: Session, second: Session
) -> None:
    definitions = [JobDefinition(job_type=f"type-{number}") for number in range(10)]
    first.run(jobs.upsert_job_definitions(definitions))

    waiting = second.begin(jobs.upsert_job_definitions(reversed(definitions)), queue)
    first.commit()
    waiting.result()
    second.commit()

    assert len(queue.run(jobs.list_job_definitions())) == 11
