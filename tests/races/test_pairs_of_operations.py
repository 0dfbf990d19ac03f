"""Every pair of operations on one job, in both orders: the second comes while the first is not committed.

It goes around the job or waits for it, and then does what the state allows that the first has left. Whatever the pair,
row, attempts and events must tell one story afterwards, and who reported success must stand in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    JobEventType,
    JobFailureKind,
    JobProgress,
    JobStatus,
    LeaseIdentity,
    Requeued,
)
from runledger.postgres import Operation, QueryError, jobs
from tests.postgres.job_queue import MINUTE, WORKER, JobQueue
from tests.races.ledger_rules import check_ledger
from tests.races.session import Session

REFUSALS = {
    "job.lease_owner_mismatch",
    "job.invalid_state_transition",
    "job.unstarted_claim_release_not_applicable",
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One job, and the lease that the operations name: the live one, or one that was.

    Attributes:
        job_id: The job.
        lease: What its worker believes.
        after_expiry: An instant at which a reaper finds the lease expired, also a renewed one.
    """

    job_id: UUID
    lease: LeaseIdentity
    after_expiry: datetime


def scene_of(held: ClaimedJob) -> Scene:
    return Scene(job_id=held.job_id, lease=held.lease, after_expiry=held.lease_expires_at + 10 * MINUTE)


def failure(lease: LeaseIdentity, kind: JobFailureKind = JobFailureKind.RETRYABLE) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(lease=lease, kind=kind, error_code="code", error_message="message")


def progress(lease: LeaseIdentity) -> jobs.JobProgressUpdate:
    return jobs.JobProgressUpdate(lease=lease, progress=JobProgress(stage="running", progress_done=1, checkpoint=[1]))


def reap(scene: Scene) -> Operation[jobs.ReapResult]:
    return jobs.reap_expired_leases(limit=9, retry_delay=MINUTE, now=scene.after_expiry)


@dataclass(frozen=True, kw_only=True)
class Move:
    """An operation on the job of a scene.

    Attributes:
        make: Makes the operation.
        event: What it writes when it reports success; ``None`` for a renewal.
        succeeded: Reads success out of its result.
    """

    make: Callable[[Scene], Operation[Any]]
    event: JobEventType | None
    succeeded: Callable[[Any, UUID], bool] = lambda _result, _job_id: True


def contains(result: Any, job_id: UUID) -> bool:
    return job_id in result


def claimed(result: list[ClaimedJob], job_id: UUID) -> bool:
    return job_id in {job.job_id for job in result}


def reaped(result: jobs.ReapResult, _job_id: UUID) -> bool:
    return result.processed_count == 1


def compared(result: object, _job_id: UUID) -> bool:
    return isinstance(result, Requeued)


MOVES: dict[str, Move] = {
    "claim": Move(
        make=lambda _: jobs.claim_prestart_jobs("worker-2", lease_ttl=MINUTE, limit=9),
        event=JobEventType.LEASED,
        succeeded=claimed,
    ),
    "renew": Move(
        make=lambda scene: jobs.renew_leases(WORKER, [scene.lease], lease_ttl=MINUTE), event=None, succeeded=contains
    ),
    "heartbeat": Move(
        make=lambda scene: jobs.heartbeat_job(scene.lease, lease_ttl=MINUTE), event=JobEventType.HEARTBEAT
    ),
    "progress": Move(make=lambda scene: jobs.update_job_progress(progress(scene.lease)), event=JobEventType.PROGRESS),
    "progress of many": Move(
        make=lambda scene: jobs.update_progress_of_jobs(WORKER, [progress(scene.lease)]),
        event=JobEventType.PROGRESS,
        succeeded=contains,
    ),
    "complete": Move(
        make=lambda scene: jobs.complete_job(jobs.JobSuccess(lease=scene.lease)), event=JobEventType.SUCCEEDED
    ),
    "complete many": Move(
        make=lambda scene: jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=scene.lease)]),
        event=JobEventType.SUCCEEDED,
        succeeded=contains,
    ),
    "fail": Move(make=lambda scene: jobs.fail_job(failure(scene.lease)), event=JobEventType.RETRY_SCHEDULED),
    "fail many for good": Move(
        make=lambda scene: jobs.fail_jobs(WORKER, [failure(scene.lease, JobFailureKind.TERMINAL)]),
        event=JobEventType.DEAD_LETTERED,
        succeeded=contains,
    ),
    "cancel": Move(make=lambda scene: jobs.cancel_job(scene.job_id, scope=Admin()), event=JobEventType.CANCELED),
    "requeue": Move(make=lambda scene: jobs.requeue_job(scene.job_id, scope=Admin()), event=JobEventType.REQUEUED),
    "compare and requeue": Move(
        make=lambda scene: jobs.compare_and_requeue_job(
            scene.job_id, scope=Admin(), expected_status=JobStatus.SUCCEEDED, expected_run_number=1
        ),
        event=JobEventType.REQUEUED,
        succeeded=compared,
    ),
    "release": Move(
        make=lambda scene: jobs.release_unstarted_job_claim(scene.lease, reason="QUEUE_FULL"),
        event=JobEventType.REQUEUED,
    ),
    "return": Move(
        make=lambda scene: jobs.return_claims(WORKER, [scene.lease], reason="SHUTDOWN"),
        event=JobEventType.REQUEUED,
        succeeded=contains,
    ),
    "reap": Move(make=reap, event=None, succeeded=reaped),
}


def pending(queue: JobQueue) -> ClaimedJob:
    """A job that was claimed and given back."""
    held = prestart(queue)
    queue.run(jobs.return_claims(WORKER, [held.lease], reason="SHUTDOWN"))
    return held


def prestart(queue: JobQueue) -> ClaimedJob:
    """A job that was claimed and not started."""
    queue.enqueue()
    (held,) = queue.run(jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1))
    return held


def running(queue: JobQueue) -> ClaimedJob:
    """A job that runs."""
    queue.enqueue()
    return queue.claim_one(is_start=True)


def succeeded(queue: JobQueue) -> ClaimedJob:
    """A job that has ended."""
    held = running(queue)
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=held.lease)))
    return held


STATES = {"pending": pending, "prestart": prestart, "running": running, "succeeded": succeeded}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an operation answered: a result, or a refusal."""

    result: Any = None
    refusal: str | None = None


def answer_of(run: Callable[[], Any]) -> Answer:
    try:
        return Answer(result=run())
    except QueryError as error:
        if error.code not in REFUSALS:
            raise
        return Answer(refusal=error.code)


def events_of(queue: JobQueue, job_id: UUID) -> list[JobEventType]:
    return [event.event_type for event in queue.events(job_id)]


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.product(MOVES, MOVES)), ids=lambda name: name.replace(" ", "-")
)
def test_two_operations_on_one_job_leave_one_story(
    queue: JobQueue, first: Session, second: Session, one: str, other: str
) -> None:
    """LIFE-008, ADM-002, ADM-004, ADM-012."""
    for state, prepare in STATES.items():
        held = prepare(queue)
        scene = scene_of(held)
        count = len(events_of(queue, scene.job_id))

        mine = answer_of(lambda scene=scene: first.run(MOVES[one].make(scene)))
        waiting: Future[Any] = second.start(MOVES[other].make(scene), queue)
        first.commit()
        yours = answer_of(waiting.result)
        second.commit()

        check_ledger(queue, scene.job_id)
        written = events_of(queue, scene.job_id)[count:]
        expected = [
            MOVES[name].event
            for name, answer in ((one, mine), (other, yours))
            if answer.refusal is None and MOVES[name].succeeded(answer.result, scene.job_id)
        ]
        for event in filter(None, expected):
            assert written.count(event) >= expected.count(event), state
        if not expected:
            assert written == [], state
        queue.sql("DELETE FROM job_queue")


@pytest.mark.parametrize(
    "other", [name for name in MOVES if name not in {"claim", "reap"}], ids=lambda n: n.replace(" ", "-")
)
@pytest.mark.parametrize("one", MOVES, ids=lambda n: n.replace(" ", "-"))
def test_an_operation_that_was_rolled_back_never_was(
    queue: JobQueue, first: Session, second: Session, one: str, other: str
) -> None:
    """The second finds the job as if the first had not come, but for what it went around while it was locked."""
    held = running(queue)
    scene = scene_of(held)
    alone = ["ENQUEUED", "LEASED"]

    answer_of(lambda: first.run(MOVES[one].make(scene)))
    waiting = second.start(MOVES[other].make(scene), queue)
    first.rollback()
    answer = answer_of(waiting.result)
    second.commit()

    check_ledger(queue, scene.job_id)
    if answer.refusal is not None or not MOVES[other].succeeded(answer.result, scene.job_id):
        assert queue.event_types(scene.job_id) == alone
    elif MOVES[other].event is not None:
        assert queue.event_types(scene.job_id)[-1] == MOVES[other].event
