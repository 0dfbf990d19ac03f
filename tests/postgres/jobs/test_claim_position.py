"""A claim that begins where the last one ended: what it sees, and what it leaves to a claim from the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from runledger.postgres import jobs
from runledger.postgres.jobs import ClaimedBatch, ClaimPosition
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER, JobQueue

HOUR = timedelta(hours=1)
OTHER_TYPE = "invoice.send"
TYPES = pytest.mark.parametrize(
    "job_types",
    [None, [JOB_TYPE], [JOB_TYPE, OTHER_TYPE], [JOB_TYPE, *map(str, range(20))]],
    ids=["any", "1", "2", "21"],
)


def claim(
    queue: JobQueue,
    limit: int,
    *,
    after: ClaimPosition | None = None,
    job_types: Sequence[str] | None = None,
    max_payload_bytes: int | None = None,
    now: datetime | None = None,
) -> ClaimedBatch:
    return queue.run(
        jobs.claim_batch(
            WORKER,
            lease_ttl=MINUTE,
            limit=limit,
            job_types=job_types,
            max_payload_bytes=max_payload_bytes,
            after=after,
            now=now,
        )
    )


def ids(batch: ClaimedBatch) -> list[UUID]:
    return [job.job_id for job in batch.jobs]


@TYPES
def test_claims_that_follow_each_other_take_everything_in_order(
    queue: JobQueue, job_types: Sequence[str] | None
) -> None:
    """CLM-002."""
    now = queue.clock()
    in_order = [
        queue.enqueue(priority=priority, run_at=now - age)
        for priority in (3, 2, 1, -1)
        for age in (2 * HOUR, HOUR, HOUR, HOUR, timedelta())
    ]

    taken: list[UUID] = []
    position: ClaimPosition | None = None
    for _ in range(10):
        batch = claim(queue, 3, after=position, job_types=job_types)
        position = batch.position
        taken += ids(batch)

    assert taken == in_order


@TYPES
def test_a_higher_priority_that_arrives_meanwhile_goes_first(queue: JobQueue, job_types: Sequence[str] | None) -> None:
    """CLM-002."""
    past = queue.clock() - HOUR
    first, second, third = (queue.enqueue(run_at=past) for _ in range(3))
    lower = queue.enqueue(priority=1)
    batch = claim(queue, 1, job_types=job_types)

    urgent = queue.enqueue(priority=1_000)

    assert ids(batch) == [first]
    assert ids(claim(queue, 10, after=batch.position, job_types=job_types)) == [urgent, second, third, lower]


@TYPES
def test_what_was_committed_late_is_left_to_a_claim_from_the_start(
    queue: JobQueue, job_types: Sequence[str] | None
) -> None:
    now = queue.clock()
    queue.enqueue(run_at=now - MINUTE)
    waiting = queue.enqueue(run_at=now)
    position = claim(queue, 1, job_types=job_types).position

    late = queue.enqueue(run_at=now - HOUR)

    assert ids(claim(queue, 10, after=position, job_types=job_types)) == [waiting]
    assert ids(claim(queue, 10, job_types=job_types)) == [late]


@TYPES
def test_near_the_present_a_full_claim_passes_over_nothing_that_commits_within_the_margin(
    queue: JobQueue, job_types: Sequence[str] | None
) -> None:
    """A job is due when its transaction begins, so one that is committed later may be due earlier."""
    now = queue.clock()
    first, second = queue.enqueue(run_at=now), queue.enqueue(run_at=now)
    batch = claim(queue, 1, job_types=job_types, now=now)

    late = queue.enqueue(run_at=now - timedelta(milliseconds=199))

    assert ids(batch) == [first]
    assert ids(claim(queue, 10, after=batch.position, job_types=job_types, now=now)) == [late, second]


def test_a_position_before_a_due_time_leaves_nothing_behind_that_is_due_from_then_on(queue: JobQueue) -> None:
    now = queue.clock()
    first = queue.enqueue(run_at=now - MINUTE)
    queue.enqueue(run_at=now - MINUTE)
    batch = claim(queue, 1)
    late = queue.enqueue(run_at=now - HOUR)

    assert ids(batch) == [first]
    assert batch.position.before(now) == batch.position
    assert ids(claim(queue, 1, after=batch.position.before(now - HOUR))) == [late]


def test_after_a_claim_that_found_no_more_only_newer_jobs_are_seen(queue: JobQueue) -> None:
    now = queue.clock()
    position = claim(queue, 1, now=now).position
    watermark = now - timedelta(milliseconds=200)

    behind = queue.enqueue(run_at=watermark)
    just_after = queue.enqueue(run_at=watermark + timedelta(microseconds=1))
    lowest = queue.enqueue(priority=-(2**31), run_at=now)

    assert position.watermark == watermark
    assert ids(claim(queue, 10, after=position, now=now)) == [just_after, lowest]
    lowered = replace(position, watermark=watermark - timedelta(microseconds=1))
    assert ids(claim(queue, 10, after=lowered, now=now)) == [behind]


def test_an_empty_claim_has_a_position_too(queue: JobQueue) -> None:
    batch = claim(queue, 10)

    assert (batch.jobs, batch.due_count) == ([], 0)
    due = queue.enqueue()
    assert ids(claim(queue, 10, after=batch.position)) == [due]


def test_what_did_not_fit_is_not_passed_over(queue: JobQueue) -> None:
    """The claim was told to bring more than there is, and ended for the size of the payloads."""
    due = [queue.enqueue("x" * 1_000) for _ in range(3)]

    batch = claim(queue, 10, max_payload_bytes=1_000)

    assert (ids(batch), batch.due_count) == (due[:1], 3)
    assert ids(claim(queue, 10, after=batch.position)) == due[1:]


def test_a_job_that_somebody_had_locked_is_left_to_a_claim_from_the_start(queue: JobQueue) -> None:
    past = queue.clock() - MINUTE
    locked, free = queue.enqueue(run_at=past), queue.enqueue(run_at=past)
    with psycopg.connect(queue.url) as somebody:
        somebody.execute("SELECT FROM runledger.job_queue WHERE id = %s FOR UPDATE", [locked])
        batch = claim(queue, 1)
    assert ids(batch) == [free]

    assert ids(claim(queue, 10, after=batch.position)) == []
    assert ids(claim(queue, 10)) == [locked]
