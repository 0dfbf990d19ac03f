"""Contexts that keep what a handler did, for tests that call it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from runledger.core import InvalidArgumentError, JobProgress, WorkflowAppend, WorkflowPrerequisite, WorkflowStepStatus
from runledger.runtime import AsyncJobContext, ThreadJobContext
from runledger.testing import EphemeralDatabase, RecordingAsyncContext, RecordingThreadContext


async def import_rows(context: AsyncJobContext, payload: int) -> None:
    await context.progress(0, payload, stage="reading")
    await context.checkpoint({"row": payload})
    context.log("read", level="debug", rows=payload)


def import_rows_in_thread(context: ThreadJobContext, payload: int) -> None:
    context.progress(0, payload, stage="reading")
    context.checkpoint({"row": payload})
    context.log("read", level="debug", rows=payload)


async def test_both_contexts_keep_what_a_handler_did() -> None:
    context, in_thread = RecordingAsyncContext(), RecordingThreadContext()
    await import_rows(context, 3)
    import_rows_in_thread(in_thread, 3)
    for recorded in (context.recorded, in_thread.recorded):
        assert recorded.progress == [JobProgress(progress_done=0, progress_total=3, stage="reading")]
        assert recorded.checkpoints == [{"row": 3}]
        assert [(line.level, line.message, line.fields) for line in recorded.logs] == [("DEBUG", "read", {"rows": 3})]
        assert recorded.outputs == []


@pytest.mark.parametrize("kind", [RecordingAsyncContext, RecordingThreadContext])
def test_the_attempt_is_the_one_that_was_asked_for(
    kind: type[RecordingAsyncContext | RecordingThreadContext],
) -> None:
    tenant = UUID("00000000-0000-7000-8000-00000000000a")
    context = kind(job_type="a", attempt=2, max_attempts=2, organization_id=tenant, saved_checkpoint=[1])
    assert (context.job_type, context.is_last_attempt, context.organization_id) == ("a", True, tenant)
    assert context.saved_checkpoint == [1]
    assert context.workflow_run_id is None
    assert not context.cancel_requested


def test_a_handler_that_is_to_end_sees_it() -> None:
    context, in_thread = RecordingAsyncContext(), RecordingThreadContext()
    context.request_cancel()
    in_thread.request_cancel()
    assert context.cancel_requested
    with pytest.raises(asyncio.CancelledError):
        in_thread.raise_if_cancel_requested()


async def test_a_report_that_a_worker_refuses_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="greater than progress_total"):
        await RecordingAsyncContext().progress(3, 2)
    with pytest.raises(InvalidArgumentError, match="checkpoint"):
        RecordingThreadContext().checkpoint(object())  # pyright: ignore[reportArgumentType]  (the mistake)


async def test_a_step_gets_the_outputs_of_those_before_it() -> None:
    outputs = {"build": 17, "check": None}
    assert await RecordingAsyncContext(prerequisites=outputs).prerequisite_outputs() == outputs
    assert RecordingThreadContext(prerequisites=outputs).prerequisite_outputs() == outputs
    with pytest.raises(InvalidArgumentError, match="belongs to none"):
        await RecordingAsyncContext().prerequisite_outputs()


async def test_what_needs_a_ledger_says_so() -> None:
    with pytest.raises(InvalidArgumentError, match="let a worker carry out the job"):
        async with RecordingAsyncContext().transaction():
            pass
    more = WorkflowAppend()
    more.job("more", "release.build")
    with pytest.raises(InvalidArgumentError, match="let a worker carry out the job"):
        await RecordingAsyncContext(prerequisites={}).append_steps(more)


async def test_a_transaction_is_one_on_the_connection_of_the_test(runledger_database: EphemeralDatabase) -> None:
    async with await psycopg.AsyncConnection.connect(runledger_database.url) as connection:
        context = RecordingAsyncContext(connection=connection)
        async with context.transaction() as inside:
            await inside.execute("CREATE TABLE kept (number integer)")
            context.set_output({"rows": 1})
        with pytest.raises(psycopg.errors.DivisionByZero):
            await _fail_in(context)
        found = await connection.execute("SELECT to_regclass('kept') IS NULL, to_regclass('rolled_back') IS NULL")
        assert await found.fetchone() == (False, True)
    assert context.recorded.outputs == [{"rows": 1}]


async def _fail_in(context: AsyncJobContext) -> None:
    async with context.transaction() as connection:
        await connection.execute("CREATE TABLE rolled_back (number integer)")
        await connection.execute("SELECT 1 / 0")


def test_a_thread_has_a_blocking_transaction(runledger_database: EphemeralDatabase) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        context = RecordingThreadContext(connection=connection)
        with context.transaction() as inside:
            inside.execute("SELECT 1")
            context.set_output(2)
        with pytest.raises(InvalidArgumentError, match="outside of the transaction"):
            context.set_output(3)
    assert context.recorded.outputs == [2]


async def test_steps_before_may_have_failed() -> None:
    failed = WorkflowPrerequisite(
        step_key="pay",
        status=WorkflowStepStatus.FAILED,
        output=None,
        status_reason="TERMINAL",
        last_error_code="card.expired",
        last_error_message="the card has expired",
    )
    given = {"pay": failed, "pack": 3}

    seen = await RecordingAsyncContext(prerequisites=given).prerequisites()

    assert seen == RecordingThreadContext(prerequisites=given).prerequisites()
    assert (seen["pay"], seen["pack"].status, seen["pack"].output) == (failed, WorkflowStepStatus.SUCCEEDED, 3)


@pytest.mark.parametrize("kind", [RecordingAsyncContext, RecordingThreadContext])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attempt": 0}, "attempt: is out of range"),
        ({"attempt": 9}, "attempt: is greater than max_attempts; pass at most that, or raise it"),
        ({"max_attempts": 0}, "max_attempts: is out of range"),
        ({"run_number": "1"}, "run_number: is of type str"),
        ({"timeout": 60}, "timeout: is of type int"),
        ({"job_type": " "}, "job_type: is blank"),
        ({"organization_id": "shop"}, "organization_id: is of type str"),
        ({"prerequisites": [1]}, "prerequisites: is of type list; pass a dict"),
    ],
)
def test_what_no_job_can_have_is_refused_by_name(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        kind(**arguments)

    assert str(caught.value).startswith(message)
