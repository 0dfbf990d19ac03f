"""Claim: which jobs, in which order, and what a claim writes."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from runledger.core import InvalidArgumentError, JobClaimOrigin, JobFailureKind, JobStatus
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER, JobQueue

HOUR = timedelta(hours=1)
NAIVE = datetime(2026, 5, 26)  # noqa: DTZ001


def test_claim_takes_only_pending_jobs_that_are_due(queue: JobQueue) -> None:
    """CLM-001."""
    queue.enqueue(run_in=HOUR)
    due = queue.enqueue()

    assert [job.job_id for job in queue.claim()] == [due]
    assert queue.claim("worker-2") == []


def test_a_passed_now_makes_later_jobs_due(queue: JobQueue) -> None:
    """CLM-001."""
    later = queue.enqueue(run_in=HOUR)
    due_at = queue.job(later).next_run_at

    assert queue.claim(now=due_at - timedelta(microseconds=1)) == []
    assert [job.job_id for job in queue.claim(now=due_at)] == [later]


def test_the_higher_priority_goes_first_then_the_job_due_longest_then_the_older_one(queue: JobQueue) -> None:
    """CLM-002."""
    now = queue.clock()
    first_of_a_tie = queue.enqueue(run_at=now - MINUTE)
    due_longest = queue.enqueue(run_at=now - HOUR)
    second_of_a_tie = queue.enqueue(run_at=now - MINUTE)
    urgent = queue.enqueue(priority=101, run_at=now)
    negative = queue.enqueue(priority=-1, run_at=now - 24 * HOUR)

    claimed = queue.claim(now=now)

    assert [job.job_id for job in claimed] == [urgent, due_longest, first_of_a_tie, second_of_a_tie, negative]


def test_the_limit_is_kept_and_the_first_in_order_are_taken(queue: JobQueue) -> None:
    """CLM-004."""
    ids = [queue.enqueue(priority=priority) for priority in (1, 3, 2)]

    assert [job.job_id for job in queue.claim(limit=2)] == [ids[1], ids[2]]
    assert [job.job_id for job in queue.claim(limit=2)] == [ids[0]]


def test_claim_by_type_takes_these_types_and_no_other(queue: JobQueue) -> None:
    """CLM-005."""
    for job_type in ("sms.send", "fax.send"):
        queue.define(job_type)
    email, sms, fax = (queue.enqueue(job_type=job_type) for job_type in (JOB_TYPE, "sms.send", "fax.send"))

    assert [job.job_id for job in queue.claim(job_types=["sms.send"])] == [sms]
    assert queue.claim(job_types=["sms.send", "letter.send"]) == []
    assert {job.job_id for job in queue.claim(job_types=["fax.send", JOB_TYPE])} == {email, fax}


@pytest.mark.parametrize("other_types", [0, 15, 16, 40], ids=lambda count: f"{count}-other-types")
def test_claim_by_type_keeps_one_order_across_types(queue: JobQueue, other_types: int) -> None:
    """CLM-002, CLM-005: however many types are asked for, and also when one is named twice."""
    types = [JOB_TYPE, "sms.send", *(f"type.{number}" for number in range(other_types))]
    for job_type in [*types, "fax.send"]:
        queue.define(job_type)
    now = queue.clock()
    ids = {
        (priority, -minutes, number): queue.enqueue(
            job_type=types[number % len(types)], priority=priority, run_at=now - minutes * MINUTE
        )
        for number, (priority, minutes) in enumerate(
            (priority, minutes) for priority in (100, -5, 7) for minutes in (1, 90, 2, 60) for _ in range(3)
        )
    }
    queue.enqueue(job_type="fax.send", priority=1_000, run_at=now - HOUR)
    in_order = [ids[key] for key in sorted(ids, key=lambda key: (-key[0], key[1], key[2]))]
    asked = [*types, JOB_TYPE]

    claimed = [queue.claim(limit=limit, job_types=asked, now=now) for limit in (5, 1, 100)]

    assert [len(batch) for batch in claimed] == [5, 1, len(ids) - 6]
    assert [job.job_id for batch in claimed for job in batch] == in_order


def test_an_empty_list_of_types_gives_nothing_and_asks_nothing() -> None:
    """CLM-006."""
    steps = jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1, job_types=[]).begin()

    with pytest.raises(StopIteration) as stop:
        next(steps)

    assert stop.value.value == []


def test_a_claim_leases_the_job_to_the_worker(queue: JobQueue) -> None:
    """CLM-007, CLM-008."""
    job_id = queue.enqueue({"to": "a@example.org"})
    now = queue.clock()

    (claimed,) = queue.claim(lease_ttl=timedelta(seconds=90), now=now)

    job = queue.job(job_id)
    assert (job.status, job.attempt, job.worker_id, job.stage) == (JobStatus.LEASED, 1, WORKER, "queued")
    assert (job.last_heartbeat_at, job.started_at, job.updated_at) == (now, now, now)
    assert job.lease_expires_at == now + timedelta(seconds=90)
    assert claimed.lease.job_id == job_id
    assert (claimed.run_number, claimed.attempt, claimed.max_attempts) == (1, 1, 3)
    assert (claimed.job_type, claimed.priority, claimed.timeout_seconds) == (JOB_TYPE, 100, 30)
    assert (claimed.worker_id, claimed.leased_at, claimed.lease_expires_at) == (WORKER, now, job.lease_expires_at)
    assert (claimed.payload, claimed.checkpoint) == ({"to": "a@example.org"}, None)


def test_the_first_start_is_kept_by_later_claims(queue: JobQueue) -> None:
    """CLM-007."""
    first = queue.enqueue_and_claim()
    failure = jobs.AttemptFailure(
        lease=first.lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message"
    )
    queue.run(jobs.fail_job(failure))

    second = queue.claim_one()

    assert second.attempt == 2
    assert second.leased_at > first.leased_at
    assert queue.job(first.job_id).started_at == first.leased_at


def test_a_claim_writes_an_attempt_and_an_event(queue: JobQueue) -> None:
    """CLM-009."""
    claimed = queue.enqueue_and_claim()

    (attempt,) = queue.attempts(claimed.job_id)
    assert (attempt.run_number, attempt.attempt, attempt.worker_id) == (1, 1, WORKER)
    assert attempt.leased_at == attempt.started_at == claimed.leased_at
    assert (attempt.finished_at, attempt.outcome, attempt.execution_started_persisted_at) == (None, None, None)
    event = queue.events(claimed.job_id)[-1]
    assert (event.event_type, event.run_number, event.attempt, event.stage) == ("LEASED", 1, 1, None)
    assert event.payload == {"worker_id": WORKER, "lease_duration_seconds": 60}


def test_a_claim_whose_event_cannot_be_written_leaves_the_job_pending(queue: JobQueue) -> None:
    """CLM-010."""
    job_id = queue.enqueue()
    queue.refuse("job_events", "NEW.event_type = 'LEASED'")

    with pytest.raises(QueryError):
        queue.claim()

    job = queue.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.PENDING, 0)
    assert queue.attempts(job_id) == []


def test_a_job_of_a_definition_disabled_later_is_still_claimed(queue: JobQueue) -> None:
    """CLM-012."""
    job_id = queue.enqueue()
    queue.run(jobs.update_job_definition(JOB_TYPE, is_enabled=False))

    assert queue.claim_one().job_id == job_id


@pytest.mark.parametrize("origin", JobClaimOrigin)
def test_the_attempt_keeps_the_origin_of_its_claim(queue: JobQueue, origin: JobClaimOrigin) -> None:
    """CLM-013."""
    job_id = queue.enqueue()

    queue.claim(claim_origin=origin)

    assert queue.attempts(job_id)[0].claim_origin is origin


def test_a_claim_that_starts_writes_stage_and_marker_at_once_and_no_further_event(queue: JobQueue) -> None:
    job_id = queue.enqueue()

    claimed = queue.claim_one(is_start=True)

    assert queue.job(job_id).stage == "running"
    assert queue.attempts(job_id)[0].execution_started_persisted_at == claimed.leased_at
    assert queue.event_types(job_id) == ["ENQUEUED", "LEASED"]


def test_a_checkpoint_comes_with_the_claim(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    queue.sql("UPDATE job_queue SET checkpoint = '{\"page\": 3}' WHERE id = %s", job_id)

    assert queue.claim_one().checkpoint == {"page": 3}


@pytest.mark.parametrize(
    ("field", "operation"),
    [
        ("worker_id", jobs.claim_jobs(" \t", lease_ttl=MINUTE, limit=1)),
        ("worker_id", jobs.claim_jobs("nul\0", lease_ttl=MINUTE, limit=1)),
        ("limit", jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=0)),
        ("limit", jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=True)),
        ("lease_ttl", jobs.claim_jobs(WORKER, lease_ttl=timedelta(0), limit=1)),
        ("lease_ttl", jobs.claim_jobs(WORKER, lease_ttl=timedelta(microseconds=999), limit=1)),
        ("lease_ttl", jobs.claim_jobs(WORKER, lease_ttl=-MINUTE, limit=1)),
        ("now", jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1, now=NAIVE)),
        ("job_types", jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1, job_types=JOB_TYPE)),
        ("job_types", jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1, job_types=JOB_TYPE)),
        ("job_types", jobs.list_due_job_ids(limit=1, job_types=JOB_TYPE)),
    ],
    ids=[
        "blank worker",
        "worker with NUL",
        "no limit",
        "limit of True",
        "no ttl",
        "ttl too short",
        "negative ttl",
        "naive now",
        "one type",
        "one type of a prestart claim",
        "one type of a list",
    ],
)
def test_a_senseless_argument_is_refused_before_the_database_is_asked(field: str, operation: Operation[object]) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        next(operation.begin())


def test_excluded_jobs_stay_where_they_are_and_the_list_of_due_jobs_leaves_them_out(queue: JobQueue) -> None:
    queue.define()
    first, second = queue.enqueue(), queue.enqueue()

    assert queue.run(jobs.list_due_job_ids(limit=2)) == [first, second]
    assert queue.run(jobs.list_due_job_ids(limit=2, excluded_job_ids=[first])) == [second]
    claimed = queue.run(jobs.claim_batch(WORKER, lease_ttl=MINUTE, limit=2, excluded_job_ids=[first]))

    assert [job.job_id for job in claimed.jobs] == [second]
    assert queue.run(jobs.list_due_job_ids(limit=2)) == [first]


def _noise(seed: int, size: int) -> str:
    return random.Random(seed).randbytes(size // 2).hex()  # noqa: S311 (nothing is kept secret with it)


@pytest.mark.parametrize("character", ["x", None], ids=["compressed", "incompressible"])
def test_a_claim_ends_with_the_payload_that_fills_it(queue: JobQueue, character: str | None) -> None:
    """However well a payload is packed in the database, its size in memory counts."""
    size = 20_000
    payloads = [(character or "") * size or _noise(number, size) for number in range(6)]
    ids = [queue.enqueue(payload) for payload in payloads]

    def claim(max_payload_bytes: int) -> list[UUID]:
        operation = jobs.claim_batch(WORKER, lease_ttl=MINUTE, limit=10, max_payload_bytes=max_payload_bytes)
        return [job.job_id for job in queue.run(operation).jobs]

    assert claim(2 * size) == ids[:2]
    assert claim(1) == ids[2:3], "the first comes, whatever its size"
    assert claim(100 * size) == ids[3:]
