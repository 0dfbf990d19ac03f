"""Claims, progress, outcomes and reaping through the ledger. Each test runs for both ledgers."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.client import Ledger
from runledger.core import (
    ClaimedJob,
    InvalidArgumentError,
    JobClaimOrigin,
    JobEventType,
    JobFailureKind,
    JobStage,
    JobStatus,
    LeaseIdentity,
)
from runledger.postgres import QueryError
from tests.client.blocking import execute
from tests.client.conftest import TYPE
from tests.observer import Observer

WORKER = "loop-1"
MINUTE = timedelta(minutes=1)
NOT_HELD = "job.lease_owner_mismatch"


class OrderRejectedError(Exception):
    """The application changes its mind."""


async def held(ledger: Ledger, payload: Any = None, *, max_attempts: int = 3) -> ClaimedJob:
    """Enqueue a job and claim it for a later start."""
    await ledger.enqueue(TYPE, payload, max_attempts=max_attempts)
    (claimed,) = await ledger.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1)
    return claimed


async def event_types(ledger: Ledger, job_id: UUID) -> list[str]:
    return [event.event_type.value for event in await ledger.list_job_events(job_id)]


async def expire_leases(observer: Observer) -> None:
    await observer.execute("UPDATE runledger.job_queue SET lease_expires_at = now() - interval '1 second'")


def refused_with(code: str) -> Any:
    def has_code(error: QueryError) -> bool:
        return error.code == code

    return pytest.raises(QueryError, check=has_code)


async def test_a_job_is_claimed_started_reported_on_and_completed(ledger: Ledger) -> None:
    """CLM-013, LIFE-001, LIFE-009, LIFE-010, LIFE-012, LIFE-015."""
    claimed = await held(ledger, {"to": "ada"})

    await ledger.update_job_progress(claimed.lease, stage=JobStage.RUNNING, progress_total=4)
    await ledger.heartbeat_job(claimed.lease, lease_ttl=timedelta(hours=1))
    await ledger.update_job_progress(claimed.lease, progress_done=3, checkpoint={"sent": 3})
    running = await ledger.get_job(claimed.job_id)
    await ledger.complete_job_success(claimed.lease, output={"sent": 4})

    assert claimed.payload == {"to": "ada"}
    assert running is not None
    assert (running.stage, running.progress_done, running.progress_total) == ("running", 3, 4)
    assert running.checkpoint == {"sent": 3}
    assert running.lease_expires_at is not None
    assert running.lease_expires_at - claimed.lease_expires_at > timedelta(minutes=58)
    job = await ledger.get_job(claimed.job_id)
    assert job is not None
    assert (job.status, job.stage, job.output) == (JobStatus.SUCCEEDED, "completed", {"sent": 4})
    (attempt,) = await ledger.list_job_attempts(claimed.job_id)
    assert attempt.claim_origin is JobClaimOrigin.WORKER_PRESTART
    assert attempt.execution_started_persisted_at is not None
    assert await event_types(ledger, claimed.job_id) == [
        *("ENQUEUED", "LEASED", "STAGE_CHANGED", "PROGRESS", "HEARTBEAT", "PROGRESS", "SUCCEEDED"),
    ]


async def test_a_claim_that_was_not_started_is_released_without_an_attempt(ledger: Ledger) -> None:
    """REL-001, REL-006."""
    claimed = await held(ledger)

    await ledger.release_unstarted_job_claim(claimed.lease, reason="QUEUE_FULL", retry_delay=MINUTE)

    job = await ledger.get_job(claimed.job_id)
    assert job is not None
    assert (job.status, job.attempt) == (JobStatus.PENDING, 0)
    assert job.next_run_at - claimed.leased_at >= MINUTE
    assert await ledger.list_job_attempts(claimed.job_id) == []
    assert (await ledger.list_job_events(claimed.job_id))[-1].payload == {"reason": "QUEUE_FULL"}


async def test_a_started_claim_is_not_released(ledger: Ledger) -> None:
    """REL-003."""
    claimed = await held(ledger)
    await ledger.update_job_progress(claimed.lease, stage=JobStage.RUNNING)

    with refused_with("job.unstarted_claim_release_not_applicable"):
        await ledger.release_unstarted_job_claim(claimed.lease, reason="QUEUE_FULL")


@pytest.mark.parametrize(
    ("is_start", "stage"), [(False, "queued"), (True, "running")], ids=["claimed only", "started at once"]
)
async def test_a_direct_claim_records_the_start_when_it_is_one(ledger: Ledger, *, is_start: bool, stage: str) -> None:
    """CLM-008, CLM-013."""
    job_id = await ledger.enqueue(TYPE)

    (claimed,) = await ledger.claim_jobs(WORKER, lease_ttl=MINUTE, limit=5, is_start=is_start)

    job = await ledger.get_job(job_id)
    assert job is not None
    assert (claimed.job_id, job.stage, job.worker_id) == (job_id, stage, WORKER)
    (attempt,) = await ledger.list_job_attempts(job_id)
    assert attempt.claim_origin is JobClaimOrigin.DIRECT
    assert (attempt.execution_started_persisted_at is not None) is is_start


@pytest.mark.parametrize("method", ["claim_jobs", "claim_prestart_jobs"])
async def test_a_claim_keeps_to_its_limits(ledger: Ledger, method: str) -> None:
    """CLM-004, CLM-005, CLM-006."""
    for number in range(3):
        await ledger.enqueue(TYPE, number)
    claim = getattr(ledger, method)

    assert await claim(WORKER, lease_ttl=MINUTE, limit=9, job_types=[]) == []
    assert await claim(WORKER, lease_ttl=MINUTE, limit=9, job_types=["sms.send"]) == []
    assert [job.payload for job in await claim(WORKER, lease_ttl=MINUTE, limit=2, job_types=[TYPE])] == [0, 1]
    assert [job.payload for job in await claim(WORKER, lease_ttl=MINUTE, limit=2)] == [2]


@pytest.mark.parametrize(
    ("kind", "is_dead_letter"), [(JobFailureKind.RETRYABLE, False), (JobFailureKind.TERMINAL, True)], ids=str
)
async def test_a_failure_is_retried_or_for_good_and_tells_which(
    ledger: Ledger, *, kind: JobFailureKind, is_dead_letter: bool
) -> None:
    """LIFE-019, LIFE-020, LIFE-023."""
    claimed = await held(ledger)

    told = await ledger.complete_job_failure(
        claimed.lease, kind=kind, error_code="smtp.rejected", error_message="no such mailbox", retry_delay=MINUTE
    )

    job = await ledger.get_job(claimed.job_id)
    assert job is not None
    assert told is is_dead_letter
    assert job.status is (JobStatus.DEAD_LETTERED if is_dead_letter else JobStatus.PENDING)
    assert (job.last_error_code, job.last_error_message) == ("smtp.rejected", "no such mailbox")
    assert is_dead_letter or job.next_run_at - claimed.leased_at >= MINUTE


async def test_rows_of_the_application_and_the_success_are_committed_together(
    ledger: Ledger, observer: Observer
) -> None:
    claimed = await held(ledger)

    async def write_and_complete(number: int, error: Exception | None) -> None:
        async with ledger.transaction() as connection:
            await execute(connection, f"INSERT INTO orders VALUES ({number})")
            await ledger.complete_job_success(claimed.lease, connection=connection)
            if error is not None:
                raise error

    with pytest.raises(OrderRejectedError):
        await write_and_complete(1, OrderRejectedError())
    rolled_back = await observer.value("SELECT status::text FROM runledger.job_queue")
    await write_and_complete(2, None)

    assert rolled_back == "LEASED"
    assert await observer.value("SELECT status::text FROM runledger.job_queue") == "SUCCEEDED"
    assert await observer.value("SELECT array_agg(id) FROM orders") == [2]


async def test_a_claim_in_the_callers_transaction_is_undone_with_it(ledger: Ledger) -> None:
    job_id = await ledger.enqueue(TYPE)

    async def claim_and_fail() -> None:
        async with ledger.transaction() as connection:
            await ledger.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1, connection=connection)
            raise OrderRejectedError

    with pytest.raises(OrderRejectedError):
        await claim_and_fail()

    assert await event_types(ledger, job_id) == ["ENQUEUED"]


async def report(ledger: Ledger, method: str, lease: LeaseIdentity) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "heartbeat_job": {"lease_ttl": MINUTE},
        "update_job_progress": {"progress_done": 1},
        "complete_job_success": {},
        "complete_job_failure": {"kind": JobFailureKind.TERMINAL, "error_code": "x", "error_message": "m"},
        "release_unstarted_job_claim": {"reason": "QUEUE_FULL"},
    }
    await getattr(ledger, method)(lease, **arguments[method])


REPORTS = [
    "heartbeat_job",
    "update_job_progress",
    "complete_job_success",
    "complete_job_failure",
    "release_unstarted_job_claim",
]


@pytest.mark.parametrize("method", REPORTS)
async def test_what_somebody_else_holds_is_not_reported_on(ledger: Ledger, method: str) -> None:
    """LIFE-002, LIFE-007, REL-004."""
    claimed = await held(ledger)

    with refused_with(NOT_HELD):
        await report(ledger, method, dataclasses.replace(claimed.lease, worker_id="loop-2"))

    assert await event_types(ledger, claimed.job_id) == ["ENQUEUED", "LEASED"]


@pytest.mark.parametrize("method", REPORTS)
async def test_what_is_not_held_any_more_is_not_reported_on(ledger: Ledger, observer: Observer, method: str) -> None:
    """LIFE-003, LIFE-004, LIFE-005, LIFE-006."""
    claimed = await held(ledger)
    await expire_leases(observer)

    with refused_with(NOT_HELD):
        await report(ledger, method, claimed.lease)

    assert await event_types(ledger, claimed.job_id) == ["ENQUEUED", "LEASED"]


async def test_expired_leases_are_reaped_by_what_was_recorded_of_their_start(
    ledger: Ledger, observer: Observer
) -> None:
    """RPR-005."""
    unstarted, started, last = await held(ledger), await held(ledger), await held(ledger, max_attempts=1)
    for claimed in (started, last):
        await ledger.update_job_progress(claimed.lease, stage=JobStage.RUNNING)
    await expire_leases(observer)

    first_pass = await ledger.reap_expired_leases(limit=2, retry_delay=MINUTE)
    second_pass = await ledger.reap_expired_leases(limit=2, retry_delay=MINUTE)

    assert (first_pass.processed_count, first_pass.is_full) == (2, True)
    assert (second_pass.processed_count, second_pass.is_full) == (1, False)
    dead_letters = [*first_pass.dead_letters, *second_pass.dead_letters]
    assert [dead_letter.job_id for dead_letter in dead_letters] == [last.job_id]
    assert (await event_types(ledger, unstarted.job_id))[-1] == JobEventType.REQUEUED
    assert (await event_types(ledger, started.job_id))[-1] == JobEventType.RETRY_SCHEDULED


@pytest.mark.parametrize("lease", [None, UUID(int=1), "claimed"], ids=["nothing", "id", "job"])
@pytest.mark.parametrize("method", REPORTS)
async def test_what_is_no_lease_is_told(ledger: Ledger, method: str, lease: Any) -> None:
    if lease == "claimed":
        lease = await held(ledger)

    with pytest.raises(InvalidArgumentError, match=r"^lease: is of type \w+; pass `job.lease` of a claimed job$"):
        await report(ledger, method, lease)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("kind", {"kind": "TERMINAL", "error_code": "x"}),
        ("error_code", {"kind": JobFailureKind.TERMINAL, "error_code": " "}),
    ],
    ids=["text as kind", "blank code"],
)
async def test_a_failure_that_says_nothing_is_refused(ledger: Ledger, field: str, arguments: dict[str, Any]) -> None:
    claimed = await held(ledger)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        await ledger.complete_job_failure(claimed.lease, error_message="m", **arguments)


async def test_progress_that_says_nothing_is_refused(ledger: Ledger) -> None:
    claimed = await held(ledger)

    with pytest.raises(InvalidArgumentError, match="progress: is empty"):
        await ledger.update_job_progress(claimed.lease)


async def test_an_output_that_is_no_json_is_refused_and_the_job_stays_held(ledger: Ledger) -> None:
    claimed = await held(ledger)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "output"):
        await ledger.complete_job_success(claimed.lease, output=float("nan"))

    await ledger.complete_job_success(claimed.lease)


@pytest.mark.parametrize("method", ["claim_jobs", "claim_prestart_jobs"])
async def test_one_job_type_in_place_of_several_is_told(ledger: Ledger, method: str) -> None:
    with pytest.raises(InvalidArgumentError, match="job_types: is a single str; put it into a list"):
        await getattr(ledger, method)(WORKER, lease_ttl=MINUTE, limit=1, job_types=TYPE)
