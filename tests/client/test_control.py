"""Cancel, requeue and definitions through the ledger. Each test runs for both ledgers."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.client import Ledger
from runledger.core import (
    Admin,
    CancellationNotQuiesced,
    ExpectationMismatch,
    InvalidArgumentError,
    JobDefinition,
    JobStatus,
    Organization,
    Requeued,
)
from runledger.postgres import Database, QueryError, jobs
from runledger.testing import EphemeralDatabase
from tests.client.conftest import TYPE
from tests.observer import Observer

ORGANIZATION = UUID("018fa1f8-0000-7000-8000-0000000000aa")


class OrderRejectedError(Exception):
    """The application changes its mind."""


async def status_of(observer: Observer, job_id: UUID) -> str:
    return await observer.value("SELECT status::text FROM runledger.job_queue WHERE id = %s", job_id)


async def test_a_job_is_canceled_and_started_over(ledger: Ledger) -> None:
    job_id = await ledger.enqueue(TYPE)

    canceled = await ledger.cancel_job(job_id, reason="obsolete")
    requeued = await ledger.requeue_job(job_id, reason="needed after all")

    assert (canceled.status, canceled.status_reason) == (JobStatus.CANCELED, "obsolete")
    assert (requeued.status, requeued.run_number) == (JobStatus.PENDING, 2)
    assert requeued.status_reason == "needed after all"


async def test_both_are_part_of_the_callers_transaction(ledger: Ledger, observer: Observer) -> None:
    job_id = await ledger.enqueue(TYPE)

    async def change_and_fail() -> None:
        async with ledger.transaction() as connection:
            await ledger.cancel_job(job_id, connection=connection)
            requeued = await ledger.requeue_job(job_id, connection=connection)
            assert requeued.run_number == 2
            raise OrderRejectedError

    with pytest.raises(OrderRejectedError):
        await change_and_fail()

    assert await status_of(observer, job_id) == "PENDING"
    assert await observer.value("SELECT count(*) FROM runledger.job_events") == 1


async def test_a_refusal_leaves_the_callers_transaction_usable(ledger: Ledger, observer: Observer) -> None:
    job_id = await ledger.enqueue(TYPE)

    async with ledger.transaction() as connection:
        with pytest.raises(QueryError, check=lambda error: error.code == "job.invalid_state_transition"):
            await ledger.requeue_job(job_id, connection=connection)
        await ledger.cancel_job(job_id, connection=connection)

    assert await status_of(observer, job_id) == "CANCELED"


@pytest.mark.parametrize("method", ["cancel_job", "requeue_job", "compare_and_requeue_job"])
async def test_the_default_scope_does_not_reach_the_jobs_of_organizations(ledger: Ledger, method: str) -> None:
    """ADM-006."""
    job_id = await ledger.enqueue(TYPE, organization_id=ORGANIZATION)
    expected: dict[str, Any] = {}
    if method == "compare_and_requeue_job":
        expected = {"expected_status": JobStatus.CANCELED, "expected_run_number": 1}

    calls: list[tuple[UUID, dict[str, Any], str]] = [
        (job_id, {}, "there is no such job in the global scope; pass `scope=Organization(id)` for a job of an org"),
        (uuid4(), {}, "there is no such job in the global scope; pass `scope=Organization(id)` for a job of an org"),
        (job_id, {"scope": Organization(uuid4())}, "there is no such job in the scope of the organization that was"),
        (uuid4(), {"scope": Admin()}, "there is no such job"),
    ]
    for asked, scope, text in calls:
        with pytest.raises(QueryError, match=re.escape(text)) as refused:
            await getattr(ledger, method)(asked, **scope, **expected)
        assert refused.value.code == "job.not_found"

    job = await ledger.get_job(job_id, scope=Admin())
    assert job is not None
    assert job.status is JobStatus.PENDING


@pytest.mark.parametrize("scope", [None, ORGANIZATION, "any"])
async def test_what_is_no_scope_changes_nothing(ledger: Ledger, observer: Observer, scope: Any) -> None:
    job_id = await ledger.enqueue(TYPE)

    with pytest.raises(InvalidArgumentError, match="scope"):
        await ledger.cancel_job(job_id, scope=scope)

    assert await status_of(observer, job_id) == "PENDING"


async def test_a_compared_requeue_says_what_became_of_it(ledger: Ledger, runledger_database: EphemeralDatabase) -> None:
    job_id = await ledger.enqueue(TYPE)
    async with Database(runledger_database.url).own_connection() as connection:
        await connection.run(jobs.claim_jobs("worker-1", lease_ttl=timedelta(minutes=1), limit=1))
    await ledger.cancel_job(job_id)

    expected: dict[str, Any] = {"expected_status": JobStatus.CANCELED, "expected_run_number": 1}
    early = await ledger.compare_and_requeue_job(job_id, **expected)
    await ledger.requeue_job(job_id)
    late = await ledger.compare_and_requeue_job(job_id, **expected)

    assert isinstance(early, CancellationNotQuiesced)
    assert timedelta() < early.retry_after <= timedelta(minutes=1)
    assert late == ExpectationMismatch(status=JobStatus.PENDING, run_number=2)


async def test_a_compared_requeue_returns_the_job(ledger: Ledger) -> None:
    job_id = await ledger.enqueue(TYPE)
    canceled = await ledger.cancel_job(job_id)

    outcome = await ledger.compare_and_requeue_job(
        job_id, expected_status=canceled.status, expected_run_number=canceled.run_number
    )

    job = await ledger.get_job(job_id)
    assert job is not None
    assert (job.status, job.run_number) == (JobStatus.PENDING, 2)
    assert outcome == Requeued(job=job)


async def test_definitions_are_written_read_changed_and_listed(ledger: Ledger) -> None:
    """ADM-026, ADM-027."""
    sms = JobDefinition(job_type="sms_send", max_attempts=3)
    await ledger.upsert_job_definitions([sms])

    disabled = await ledger.update_job_definition("sms_send", is_enabled=False)

    assert disabled == await ledger.get_job_definition("sms_send")
    assert disabled == JobDefinition(job_type="sms_send", max_attempts=3, is_enabled=False)
    assert await ledger.list_job_definitions(job_type_contains="S_s") == [disabled]
    assert [definition.job_type for definition in await ledger.list_job_definitions()] == [TYPE, "sms_send"]
    with pytest.raises(QueryError, check=lambda error: error.code == "job.definition_not_found_or_disabled"):
        await ledger.enqueue("sms_send")
    assert await ledger.update_job_definition("unknown", is_enabled=True) is None
    assert await ledger.get_job_definition("unknown") is None
