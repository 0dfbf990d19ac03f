"""A job that was canceled is told as that, whatever its handler was about to do. No notification comes here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runledger.core import JobStatus, Workflow, WorkflowAppend
from runledger.runtime.job_context import AsyncJobContext
from tests.runtime.app import App
from tests.runtime.gate import Gate
from tests.runtime.log_watch import LogWatch

TYPE = "email.send"

Call = Callable[[AsyncJobContext], Awaitable[Any]]


async def progress(context: AsyncJobContext) -> None:
    await context.progress(1)


async def commit(context: AsyncJobContext) -> None:
    async with context.transaction():
        pass


async def append(context: AsyncJobContext) -> None:
    steps = WorkflowAppend()
    steps.job("late", TYPE)
    await context.append_steps(steps)


async def finish(_context: AsyncJobContext) -> None:
    return


@pytest.mark.parametrize("call", [progress, commit, append, finish])
async def test_what_a_handler_does_after_a_cancel_ends_as_canceled(app: App, log: LogWatch, call: Call) -> None:
    gate = Gate()

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:
        await gate.handle(context, payload)
        await call(context)

    await app.ledger.ensure_job_definitions(app.registry.definitions())
    workflow = Workflow("mails")
    workflow.job("first", TYPE)
    await app.ledger.enqueue_workflow(workflow)
    job_id = await app.observer.value("SELECT id FROM runledger.job_queue")
    await app.cancel_while_it_runs(job_id, gate)

    assert (await app.job(job_id)).status is JobStatus.CANCELED
    assert len(log.named("worker.job_canceled")) == 1
    assert log.named("worker.outcome_not_written") == []
