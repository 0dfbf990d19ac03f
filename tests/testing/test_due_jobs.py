"""Jobs of a test are carried out until none is due."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest

from runledger.client import Ledger
from runledger.core import InvalidArgumentError, JobContext, JobFailure, JobStatus, Workflow, WorkflowRunStatus
from runledger.postgres import Database
from runledger.runtime import JobRegistry, JobsConfig
from runledger.testing import EndlessJobsError, EphemeralDatabase, make_jobs_due, run_due_jobs

registry = JobRegistry()


@registry.job("step")
async def step(_context: JobContext, _payload: None) -> None:
    pass


@registry.job("flaky", max_attempts=2)
async def flaky(context: JobContext, payload: float) -> None:
    if context.attempt == 1:
        raise JobFailure.retryable("app.flaky", "again", retry_in=timedelta(seconds=payload))


@pytest.fixture
async def ledger(runledger_database: EphemeralDatabase) -> AsyncGenerator[Ledger]:
    async with await Ledger.connect(runledger_database.url) as ledger:
        await ledger.ensure_job_definitions(registry.definitions())
        yield ledger


async def test_a_workflow_goes_on_as_far_as_its_gate(ledger: Ledger, runledger_database: EphemeralDatabase) -> None:
    flow = Workflow("chain")
    gate = flow.gate("gate", after=flow.job("b", "step", after=flow.job("a", "step")))
    flow.job("c", "step", after=gate)
    run = await ledger.enqueue_workflow(flow)

    ended = await run_due_jobs(runledger_database.url, registry)
    assert [(attempt.job_type, attempt.kind.value) for attempt in ended] == [("step", "SUCCEEDED")] * 2
    assert await run_due_jobs(runledger_database.url, registry) == []

    await run.complete_gate("gate")
    assert len(await run_due_jobs(Database(runledger_database.url), registry)) == 1
    assert await run.status() is WorkflowRunStatus.SUCCEEDED


async def test_a_retry_is_carried_out_once_it_is_due(ledger: Ledger, runledger_database: EphemeralDatabase) -> None:
    now, later = await ledger.enqueue("flaky", 0), await ledger.enqueue("flaky", 3_600)

    ended = await run_due_jobs(runledger_database.url, registry, JobsConfig(max_global_concurrency=1))

    assert sorted((attempt.lease.job_id, attempt.kind.value, attempt.code) for attempt in ended) == sorted(
        [
            (now, "RETRY_SCHEDULED", "app.flaky"),
            (now, "SUCCEEDED", None),
            (later, "RETRY_SCHEDULED", "app.flaky"),
        ]
    )
    waiting = await ledger.get_job(later)
    assert waiting is not None
    assert waiting.status is JobStatus.PENDING


async def test_jobs_that_make_their_like_for_ever_are_an_error(
    ledger: Ledger, runledger_database: EphemeralDatabase
) -> None:
    endless = JobRegistry()

    @endless.job("rabbit")
    async def rabbit(_context: JobContext, _payload: None) -> None:
        await ledger.enqueue("rabbit")

    await ledger.ensure_job_definitions(endless.definitions())
    await ledger.enqueue("rabbit")

    with pytest.raises(EndlessJobsError, match=r"more than 3 attempts, .* 'rabbit'; look for a handler") as caught:
        await run_due_jobs(runledger_database.url, endless, max_attempts=3)

    assert caught.value.code == "testing.jobs_without_end"


async def test_as_many_attempts_as_are_allowed_are_no_error(
    ledger: Ledger, runledger_database: EphemeralDatabase
) -> None:
    for _ in range(3):
        await ledger.enqueue("step")

    assert len(await run_due_jobs(runledger_database.url, registry, max_attempts=3)) == 3


@pytest.mark.parametrize(("count", "problem"), [(0, "is out of range"), ("3", "is of type str")])
async def test_a_limit_that_is_none_is_refused_by_name(
    runledger_database: EphemeralDatabase, count: Any, problem: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"max_attempts: {problem}"):
        await run_due_jobs(runledger_database.url, registry, max_attempts=count)


async def test_jobs_that_wait_for_their_time_are_made_due(
    ledger: Ledger, runledger_database: EphemeralDatabase
) -> None:
    job_id = await ledger.enqueue("flaky", 3600)
    await run_due_jobs(runledger_database.url, registry)
    assert await run_due_jobs(runledger_database.url, registry) == []

    assert make_jobs_due(runledger_database.url) == 1

    (attempt,) = await run_due_jobs(runledger_database.url, registry)
    assert attempt.kind == "SUCCEEDED"
    job = await ledger.get_job(job_id)
    assert job is not None
    assert job.attempt == 2
    assert make_jobs_due(runledger_database.url) == 0


async def test_a_database_is_taken_in_either_form(ledger: Ledger, runledger_database: EphemeralDatabase) -> None:
    await ledger.enqueue("step", None, run_in=timedelta(hours=1))

    assert make_jobs_due(Database(runledger_database.url)) == 1

    assert len(await run_due_jobs(Database(runledger_database.url), registry)) == 1


async def test_jobs_of_another_schema_are_made_due(runledger_database: EphemeralDatabase) -> None:
    database = Database(runledger_database.url, schema="jobs_of_billing")
    async with await Ledger.connect(runledger_database.url, schema="jobs_of_billing") as other:
        await other.migrate()
        await other.ensure_job_definitions(registry.definitions())
        await other.enqueue("step", None, run_in=timedelta(hours=1))

    assert make_jobs_due(database) == 1
    assert make_jobs_due(runledger_database.url) == 0


async def test_what_is_no_database_is_refused_by_name(runledger_database: EphemeralDatabase) -> None:
    message = "database: is of type EphemeralDatabase; pass its URL, Database"
    wrong: Any = runledger_database

    with pytest.raises(InvalidArgumentError, match=message):
        make_jobs_due(wrong)
    with pytest.raises(InvalidArgumentError, match=message):
        await run_due_jobs(wrong, registry)
