"""Progress and checkpoint of a held job."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any
from uuid import uuid4

import pytest

from runledger.core import ClaimedJob, InvalidArgumentError, JobEventType, JobFailureKind, JobProgress, LeaseIdentity
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue


def progress(lease: LeaseIdentity, **fields: Any) -> Operation[None]:
    return jobs.update_job_progress(jobs.JobProgressUpdate(lease=lease, progress=JobProgress(**fields)))


def facts(queue: JobQueue, claimed: ClaimedJob) -> object:
    return queue.job(claimed.job_id), queue.attempts(claimed.job_id), queue.events(claimed.job_id)


def assert_refused(
    queue: JobQueue, claimed: ClaimedJob, operation: Operation[None], code: str, *, match: str | None = None
) -> None:
    before = facts(queue, claimed)
    with pytest.raises(QueryError, match=match) as caught:
        queue.run(operation)
    assert caught.value.code == code
    assert facts(queue, claimed) == before


def test_absent_fields_keep_what_is_stored(queue: JobQueue) -> None:
    """LIFE-009."""
    lease = (claimed := queue.enqueue_and_claim()).lease

    for fields in (
        {"stage": "sending", "progress_done": 1, "progress_total": 4, "checkpoint": {"page": 1}},
        {"progress_done": 2},
        {"stage": "waiting"},
        {"checkpoint": [None, 0]},
        {"progress_total": 5},
    ):
        queue.run(progress(lease, **fields))

    job = queue.job(claimed.job_id)
    assert (job.stage, job.progress_done, job.progress_total, job.checkpoint) == ("waiting", 2, 5, [None, 0])
    assert job.progress_pct == 40


def test_counts_may_be_members_of_an_enum_of_numbers(queue: JobQueue) -> None:
    class Page(int, Enum):
        FIRST = 1
        LAST = 4

    claimed = queue.enqueue_and_claim()

    queue.run(progress(claimed.lease, progress_done=Page.FIRST, progress_total=Page.LAST))

    job = queue.job(claimed.job_id)
    assert (job.progress_done, job.progress_total) == (1, 4)


def test_zero_and_falsy_values_are_given_values(queue: JobQueue) -> None:
    lease = (claimed := queue.enqueue_and_claim()).lease
    queue.run(progress(lease, progress_done=3, progress_total=3, checkpoint={"page": 1}))

    queue.run(progress(lease, progress_done=0, checkpoint=False))

    job = queue.job(claimed.job_id)
    assert (job.progress_done, job.checkpoint) == (0, False)


@pytest.mark.parametrize(
    ("fields", "events"),
    [
        ({"stage": "sending"}, [("STAGE_CHANGED", "sending", None, None)]),
        ({"stage": "queued"}, [("STAGE_CHANGED", "queued", None, None)]),
        ({"progress_done": 0}, [("PROGRESS", None, 0, None)]),
        ({"progress_total": 7}, [("PROGRESS", None, None, 7)]),
        (
            {"stage": "sending", "progress_done": 1, "progress_total": 2, "checkpoint": 1},
            [("STAGE_CHANGED", "sending", None, None), ("PROGRESS", None, 1, 2)],
        ),
        ({"checkpoint": {"page": 1}}, []),
    ],
    ids=["stage", "same stage", "done", "total", "all", "checkpoint"],
)
def test_a_stage_and_counts_write_an_event_each_as_given_and_a_checkpoint_none(
    queue: JobQueue, fields: dict[str, Any], events: list[Any]
) -> None:
    """LIFE-010, LIFE-011."""
    claimed = queue.enqueue_and_claim()

    queue.run(progress(claimed.lease, **fields))

    written = queue.events(claimed.job_id)[2:]
    assert [
        (event.event_type.value, event.stage, event.progress_done, event.progress_total) for event in written
    ] == events
    assert all((event.attempt, event.payload) == (1, {}) for event in written)


def test_progress_does_not_extend_the_lease(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()

    queue.run(progress(claimed.lease, stage="sending", progress_done=1))

    job = queue.job(claimed.job_id)
    assert (job.lease_expires_at, job.last_heartbeat_at) == (claimed.lease_expires_at, claimed.leased_at)


@pytest.mark.parametrize("is_prestart", [True, False])
def test_stage_running_sets_the_started_marker_once(queue: JobQueue, *, is_prestart: bool) -> None:
    """LIFE-012."""
    queue.enqueue()
    claim = jobs.claim_prestart_jobs if is_prestart else jobs.claim_jobs
    (claimed,) = queue.run(claim(WORKER, lease_ttl=MINUTE, limit=1))

    queue.run(progress(claimed.lease, stage="preparing"))
    (before,) = queue.attempts(claimed.job_id)
    queue.run(progress(claimed.lease, stage="running"))
    (marked,) = queue.attempts(claimed.job_id)
    queue.run(progress(claimed.lease, stage="running"))
    (again,) = queue.attempts(claimed.job_id)

    assert before.execution_started_persisted_at is None
    assert marked.execution_started_persisted_at is not None
    assert again == marked


@pytest.mark.parametrize("event_type", [JobEventType.STAGE_CHANGED, JobEventType.PROGRESS])
def test_a_refused_event_undoes_stage_marker_counts_and_checkpoint(queue: JobQueue, event_type: JobEventType) -> None:
    """LIFE-013."""
    queue.enqueue()
    (claimed,) = queue.run(jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1))
    queue.refuse("job_events", f"NEW.event_type = '{event_type}'")

    assert_refused(
        queue,
        claimed,
        progress(claimed.lease, stage="running", progress_done=1, progress_total=2, checkpoint=[1]),
        "db.query_failed",
    )


@pytest.mark.parametrize("fields", [{"progress_done": 4}, {"progress_total": 1}], ids=["done", "total"])
def test_more_done_than_there_is_in_total_is_refused(queue: JobQueue, fields: dict[str, int]) -> None:
    """LIFE-014. Both counts given at once are compared before anything is sent."""
    claimed = queue.enqueue_and_claim()
    queue.run(progress(claimed.lease, progress_done=2, progress_total=3))

    assert_refused(
        queue,
        claimed,
        progress(claimed.lease, **fields),
        "db.business_rule_violation",
        match="report progress_done and progress_total together",
    )


@pytest.mark.parametrize(
    "change",
    [{"worker_id": "worker-2"}, {"attempt": 2}, {"run_number": 2}, {"job_id": uuid4()}],
    ids=lambda c: next(iter(c)),
)
def test_another_identity_is_refused_and_changes_nothing(queue: JobQueue, change: dict[str, Any]) -> None:
    """LIFE-007."""
    claimed = queue.enqueue_and_claim()
    stranger = dataclasses.replace(claimed.lease, **change)

    assert_refused(queue, claimed, progress(stranger, stage="sending", checkpoint=1), "job.lease_owner_mismatch")


def test_progress_after_expiry_is_refused_and_changes_nothing(queue: JobQueue) -> None:
    """LIFE-004."""
    claimed = queue.enqueue_and_claim()
    queue.sql("UPDATE job_queue SET lease_expires_at = clock_timestamp()")

    assert_refused(queue, claimed, progress(claimed.lease, stage="sending"), "job.lease_owner_mismatch")


def test_progress_and_checkpoint_survive_a_retry_and_the_next_claim_brings_the_checkpoint(queue: JobQueue) -> None:
    """LIFE-030."""
    claimed = queue.enqueue_and_claim()
    queue.run(progress(claimed.lease, stage="sending", progress_done=1, progress_total=2, checkpoint={"page": 1}))
    queue.run(
        jobs.fail_job(
            jobs.AttemptFailure(
                lease=claimed.lease, kind=JobFailureKind.RETRYABLE, error_code="code", error_message="message"
            )
        )
    )

    again = queue.claim_one()

    job = queue.job(claimed.job_id)
    assert again.checkpoint == {"page": 1}
    assert (job.stage, job.progress_done, job.progress_total) == ("sending", 1, 2)
    assert job.started_at == claimed.leased_at


def test_many_are_updated_at_once_and_what_is_not_held_is_left_out(queue: JobQueue) -> None:
    for number in range(3):
        queue.enqueue(number)
    mine, lost, other = queue.claim()
    updates = [
        jobs.JobProgressUpdate(lease=mine.lease, progress=JobProgress(progress_done=1)),
        jobs.JobProgressUpdate(lease=dataclasses.replace(lost.lease, attempt=2), progress=JobProgress(progress_done=2)),
        jobs.JobProgressUpdate(lease=other.lease, progress=JobProgress(stage="sending", checkpoint=[3])),
    ]

    written = queue.run(jobs.update_progress_of_jobs(WORKER, updates))

    assert written == {mine.job_id, other.job_id}
    assert [queue.job(claim.job_id).progress_done for claim in (mine, lost, other)] == [1, None, None]
    assert (queue.job(other.job_id).stage, queue.job(other.job_id).checkpoint) == ("sending", [3])


def test_a_checkpoint_is_encoded_when_the_update_is_made(queue: JobQueue) -> None:
    claimed = queue.enqueue_and_claim()
    pages: list[Any] = [1]
    update = jobs.JobProgressUpdate(lease=claimed.lease, progress=JobProgress(checkpoint=pages))
    pages.append(object())

    queue.run(jobs.update_job_progress(update))

    assert queue.job(claimed.job_id).checkpoint == [1]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "progress"), ({"checkpoint": {"price": float("nan")}}, "checkpoint.price")],
    ids=["nothing", "no JSON"],
)
def test_an_update_that_cannot_be_written_names_the_field(fields: dict[str, Any], field: str) -> None:
    lease = LeaseIdentity(job_id=uuid4(), run_number=1, attempt=1, worker_id=WORKER)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        jobs.JobProgressUpdate(lease=lease, progress=JobProgress(**fields))


def test_a_checkpoint_is_not_shown() -> None:
    lease = LeaseIdentity(job_id=uuid4(), run_number=1, attempt=1, worker_id=WORKER)

    assert "4111" not in repr(jobs.JobProgressUpdate(lease=lease, progress=JobProgress(checkpoint="4111")))


def test_an_empty_batch_asks_nothing() -> None:
    with pytest.raises(StopIteration) as stop:
        next(jobs.update_progress_of_jobs(WORKER, []).begin())

    assert stop.value.value == set()
