"""Heartbeat, renewal, and the question which leases are held: the fence of every lifecycle write."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from uuid import uuid4

import pytest

from runledger.core import ClaimedJob, InvalidArgumentError, JobFailureKind, LeaseIdentity
from runledger.postgres import Operation, QueryError, QueryErrorCategory, jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue

STRANGER = "worker-2"


def changed_leases(lease: LeaseIdentity) -> dict[str, LeaseIdentity]:
    return {
        "other worker": dataclasses.replace(lease, worker_id=STRANGER),
        "other attempt": dataclasses.replace(lease, attempt=lease.attempt + 1),
        "other run": dataclasses.replace(lease, run_number=lease.run_number + 1),
        "other job": dataclasses.replace(lease, job_id=uuid4()),
    }


def lifecycle_writes(lease: LeaseIdentity) -> dict[str, Operation[object]]:
    failure = jobs.AttemptFailure(lease=lease, kind=JobFailureKind.TERMINAL, error_code="code", error_message="message")
    return {
        "heartbeat": jobs.heartbeat_job(lease, lease_ttl=MINUTE),
        "complete": jobs.complete_job(jobs.JobSuccess(lease=lease)),
        "fail": jobs.fail_job(failure),
    }


def batch_writes(lease: LeaseIdentity) -> dict[str, Operation[object]]:
    failure = jobs.AttemptFailure(lease=lease, kind=JobFailureKind.TERMINAL, error_code="code", error_message="message")
    worker_id = lease.worker_id
    return {
        "renew": jobs.renew_leases(worker_id, [lease], lease_ttl=MINUTE),
        "complete": jobs.complete_jobs(worker_id, [jobs.JobSuccess(lease=lease)]),
        "fail": jobs.fail_jobs(worker_id, [failure]),
        "return": jobs.return_claims(worker_id, [lease], reason="SHUTDOWN"),
        "read": jobs.read_held_leases(worker_id, [lease]),
    }


def history(queue: JobQueue, claimed: ClaimedJob) -> object:
    return queue.job(claimed.job_id), queue.attempts(claimed.job_id), queue.events(claimed.job_id)


def let_expire(queue: JobQueue, claimed: ClaimedJob) -> None:
    queue.sql("UPDATE job_queue SET lease_expires_at = clock_timestamp() WHERE id = %s", claimed.job_id)


@pytest.mark.parametrize("write", ["heartbeat", "complete", "fail"])
@pytest.mark.parametrize("change", ["other worker", "other attempt", "other run", "other job"])
def test_a_write_with_another_identity_is_refused_and_changes_nothing(queue: JobQueue, write: str, change: str) -> None:
    """LIFE-002, LIFE-007."""
    claimed = queue.enqueue_and_claim()
    before = history(queue, claimed)

    with pytest.raises(QueryError) as caught:
        queue.run(lifecycle_writes(changed_leases(claimed.lease)[change])[write])

    assert caught.value.code == "job.lease_owner_mismatch"
    assert caught.value.category is QueryErrorCategory.FORBIDDEN
    assert history(queue, claimed) == before


@pytest.mark.parametrize("write", ["heartbeat", "complete", "fail"])
def test_a_write_after_the_lease_expired_is_refused_and_changes_nothing(queue: JobQueue, write: str) -> None:
    """LIFE-003, LIFE-005, LIFE-006."""
    claimed = queue.enqueue_and_claim()
    let_expire(queue, claimed)
    before = history(queue, claimed)

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        queue.run(lifecycle_writes(claimed.lease)[write])

    assert history(queue, claimed) == before


def test_the_refusal_does_not_say_which_condition_failed(queue: JobQueue) -> None:
    """ERR-007."""
    claimed = queue.enqueue_and_claim()
    texts: set[str] = set()

    for lease in changed_leases(claimed.lease).values():
        with pytest.raises(QueryError) as caught:
            queue.run(jobs.heartbeat_job(lease, lease_ttl=MINUTE))
        texts |= {str(caught.value), caught.value.client_message}
    let_expire(queue, claimed)
    with pytest.raises(QueryError) as caught:
        queue.run(jobs.heartbeat_job(claimed.lease, lease_ttl=MINUTE))

    assert texts == {str(caught.value)}


@pytest.mark.parametrize("write", ["renew", "complete", "fail", "return", "read"])
@pytest.mark.parametrize("change", ["other worker", "other attempt", "other run", "other job", "expired"])
def test_a_batch_leaves_out_what_does_not_pass_the_fence(queue: JobQueue, write: str, change: str) -> None:
    """LIFE-002, LIFE-003, LIFE-005, LIFE-006, LIFE-007, REL-004."""
    claimed = queue.enqueue_and_claim()
    if change == "expired":
        let_expire(queue, claimed)
    before = history(queue, claimed)
    lease = changed_leases(claimed.lease).get(change, claimed.lease)

    outcome = queue.run(batch_writes(lease)[write])

    assert not outcome
    assert history(queue, claimed) == before


@pytest.mark.parametrize("write", ["renew", "complete", "fail", "return", "read"])
def test_a_batch_takes_what_passes_the_fence(queue: JobQueue, write: str) -> None:
    claimed = queue.enqueue_and_claim()

    outcome = queue.run(batch_writes(claimed.lease)[write])

    assert outcome in ({claimed.job_id}, {claimed.job_id: True})


def test_a_lease_is_held_up_to_its_expiry_and_not_at_it(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    expiry, instant = claimed.lease_expires_at, timedelta(microseconds=1)

    held = [queue.run(jobs.read_held_leases(WORKER, [claimed.lease], now=now)) for now in (expiry - instant, expiry)]

    assert held == [{claimed.job_id}, set()]
    with pytest.raises(QueryError):
        queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease), now=expiry))
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease), now=expiry - instant))


def test_a_heartbeat_extends_the_lease_by_the_full_time_and_writes_an_event(queue: JobQueue) -> None:
    """LIFE-001."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=20)

    queue.run(jobs.heartbeat_job(claimed.lease, lease_ttl=MINUTE, now=now))

    job = queue.job(claimed.job_id)
    assert (job.lease_expires_at, job.last_heartbeat_at, job.updated_at) == (now + MINUTE, now, now)
    event = queue.events(claimed.job_id)[-1]
    assert (event.event_type, event.attempt, event.payload) == ("HEARTBEAT", 1, {"worker_id": WORKER})


def test_a_renewal_extends_many_leases_and_writes_no_event(queue: JobQueue) -> None:
    first, second = queue.enqueue(), queue.enqueue()
    claims = queue.claim()
    now = claims[0].leased_at + timedelta(seconds=20)
    stranger = dataclasses.replace(claims[0].lease, job_id=uuid4())

    renewed = queue.run(
        jobs.renew_leases(WORKER, [stranger, *(claim.lease for claim in claims)], lease_ttl=MINUTE, now=now)
    )

    assert renewed == {first, second}
    for job_id in renewed:
        assert queue.job(job_id).lease_expires_at == now + MINUTE
        assert queue.event_types(job_id) == ["ENQUEUED", "LEASED"]


def test_a_heartbeat_may_shorten_the_lease_to_its_full_time(queue: JobQueue) -> None:
    """LIFE-001: the expiry is set, not prolonged."""
    claimed = queue.enqueue_and_claim()
    now = claimed.leased_at + timedelta(seconds=1)

    queue.run(jobs.heartbeat_job(claimed.lease, lease_ttl=timedelta(seconds=5), now=now))

    assert queue.job(claimed.job_id).lease_expires_at == now + timedelta(seconds=5)


def test_the_live_leases_of_a_worker_are_listed(queue: JobQueue) -> None:
    queue.enqueue()
    mine = queue.claim_one()
    queue.enqueue()
    queue.claim_one(STRANGER)
    queue.enqueue()
    expired = queue.claim_one()
    let_expire(queue, expired)

    assert queue.run(jobs.list_worker_leases(WORKER)) == [mine.lease]
    assert queue.run(jobs.list_worker_leases(WORKER, now=mine.lease_expires_at)) == []


def test_the_leases_that_a_claim_brought_are_listed_apart_from_others_of_the_worker(queue: JobQueue) -> None:
    """Whoever has taken over the worker's id holds leases under it, too."""
    lost, known = uuid4(), uuid4()
    queue.enqueue()
    of_lost = queue.run(jobs.claim_batch(WORKER, lease_ttl=MINUTE, limit=1, claim_id=lost)).jobs[0].lease
    queue.enqueue()
    of_known = queue.run(jobs.claim_batch(WORKER, lease_ttl=MINUTE, limit=1, claim_id=known)).jobs[0].lease
    queue.enqueue()
    of_host = queue.claim_one().lease

    assert queue.run(jobs.list_worker_leases(WORKER, claim_ids=[lost])) == [of_lost]
    assert set(queue.run(jobs.list_worker_leases(WORKER))) == {of_lost, of_known, of_host}

    queue.run(jobs.return_claims(WORKER, [of_lost], reason="CLAIM_ANSWER_LOST"))
    again = queue.run(jobs.claim_batch(WORKER, lease_ttl=MINUTE, limit=1, claim_id=uuid4())).jobs[0].lease

    assert again == of_lost
    assert queue.run(jobs.list_worker_leases(WORKER, claim_ids=[lost])) == []


@pytest.mark.parametrize(
    "operation",
    [
        jobs.renew_leases(WORKER, [], lease_ttl=MINUTE),
        jobs.read_held_leases(WORKER, []),
        jobs.complete_jobs(WORKER, []),
        jobs.fail_jobs(WORKER, []),
        jobs.return_claims(WORKER, [], reason="SHUTDOWN"),
    ],
    ids=lambda operation: operation.name,
)
def test_an_empty_batch_asks_nothing(operation: Operation[object]) -> None:
    with pytest.raises(StopIteration) as stop:
        next(operation.begin())

    assert not stop.value.value


@pytest.mark.parametrize("lease_ttl", [timedelta(0), timedelta(microseconds=999), -MINUTE], ids=str)
def test_a_lease_that_would_end_as_it_begins_is_refused(lease_ttl: timedelta) -> None:
    lease = LeaseIdentity(job_id=uuid4(), run_number=1, attempt=1, worker_id=WORKER)

    for operation in (
        jobs.heartbeat_job(lease, lease_ttl=lease_ttl),
        jobs.renew_leases(WORKER, [lease], lease_ttl=lease_ttl),
    ):
        with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "lease_ttl"):
            next(operation.begin())
