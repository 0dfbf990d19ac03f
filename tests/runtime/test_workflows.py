"""Workers carry out workflows: steps begin as soon as what they wait for has ended, and handlers have a say in it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from runledger.client import WorkflowRunHandle
from runledger.core import (
    JobContext,
    JobFailure,
    JsonValue,
    Workflow,
    WorkflowAppend,
    WorkflowPrerequisite,
    WorkflowRunFailedError,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.runtime.job_context import AsyncJobContext, ThreadJobContext
from tests.runtime.app import App

MINUTE = timedelta(minutes=1)


async def start(app: App, flow: Workflow) -> WorkflowRunHandle:
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    return await app.ledger.enqueue_workflow(flow)


async def statuses(handle: WorkflowRunHandle) -> dict[str, str]:
    return {step.step_key: step.status.value for step in await handle.steps()}


async def test_a_worker_carries_out_a_diamond_without_polling(app: App) -> None:
    order: list[str | None] = []

    @app.registry.job("work")
    async def work(context: JobContext, _payload: None) -> str | None:
        order.append(context.workflow_step_key)
        return context.workflow_step_key

    flow = Workflow("diamond")
    first = flow.job("a", "work")
    branches = [flow.job(key, "work", after=first) for key in "bc"]
    flow.result_step(flow.job("d", "work", after=branches))
    worker = app.new_worker()
    await worker.start()
    handle = await start(app, flow)
    worker.wake()

    assert await handle.result(timeout=MINUTE) == "d"
    assert (order[0], order[-1]) == ("a", "d")
    assert await handle.status() is WorkflowRunStatus.SUCCEEDED
    await worker.stop()


async def test_handlers_read_what_came_before_and_append_what_comes_next(app: App) -> None:
    attempts = 0

    @app.registry.job("discover")
    async def discover(context: AsyncJobContext, _payload: None) -> list[str]:
        nonlocal attempts
        attempts += 1
        more = WorkflowAppend()
        me = more.this_step(context)
        built = [more.job(f"build-{name}", "build", name, after=me) for name in ("x", "y")]
        more.job("merge", "merge", after=built)
        result = await context.append_steps(more)
        assert len(result.steps) == 3
        if attempts == 1:
            raise JobFailure.retryable("app.flaky", "again", retry_in=timedelta())
        return ["x", "y"]

    @app.registry.job("build")
    def build(context: ThreadJobContext, payload: str) -> str:
        assert context.prerequisite_outputs() == {"discover": ["x", "y"]}
        return payload.upper()

    merged: list[dict[str, JsonValue]] = []

    @app.registry.job("merge")
    async def merge(context: AsyncJobContext, _payload: None) -> None:
        merged.append(await context.prerequisite_outputs())

    flow = Workflow("release")
    flow.job("discover", "discover")
    handle = await start(app, flow)
    worker = app.new_worker(poll_interval=timedelta(milliseconds=10))
    await worker.start()

    run = await handle.wait(timeout=MINUTE)
    assert run.status is WorkflowRunStatus.SUCCEEDED
    assert merged == [{"build-x": "X", "build-y": "Y"}]
    assert attempts == 2
    await worker.stop()


async def test_a_failed_step_ends_a_run_without_result(app: App) -> None:
    @app.registry.job("fail", max_attempts=1)
    async def fail(_context: JobContext, _payload: None) -> None:
        raise JobFailure.terminal("app.broken", "broken")

    flow = Workflow("doomed")
    flow.result_step(flow.job("b", "fail", after=flow.job("a", "fail")))
    handle = await start(app, flow)
    worker = app.new_worker()
    await worker.start()

    with pytest.raises(WorkflowRunFailedError) as caught:
        await handle.result(timeout=MINUTE)

    assert caught.value.status == "COMPLETED_WITH_ERRORS"
    assert await statuses(handle) == {"a": "FAILED", "b": "CANCELED"}
    await worker.stop()


async def test_a_handler_behind_ends_of_all_kinds_sees_which_failed_and_why(app: App) -> None:
    """What failed has no output, and neither has what succeeded silently; a refused gate hands its reason on."""
    seen: dict[str, dict[str, tuple[str, JsonValue, str | None]]] = {}

    @app.registry.job("silent")
    async def silent(_context: JobContext, _payload: None) -> None:
        pass

    @app.registry.job("fail")
    async def fail(_context: JobContext, _payload: None) -> None:
        raise JobFailure.terminal("app.broken", "broken")

    def told(steps: dict[str, WorkflowPrerequisite]) -> dict[str, tuple[str, JsonValue, str | None]]:
        return {key: (step.status.value, step.output, step.last_error_code) for key, step in steps.items()}

    @app.registry.job("report")
    async def report(context: AsyncJobContext, _payload: None) -> dict[str, JsonValue]:
        seen["async"] = told(await context.prerequisites())
        return await context.prerequisite_outputs()

    @app.registry.job("report-in-thread")
    def report_in_thread(context: ThreadJobContext, _payload: None) -> dict[str, JsonValue]:
        seen["thread"] = told(context.prerequisites())
        return context.prerequisite_outputs()

    flow = Workflow("reported")
    before = [flow.job("silent", "silent"), flow.job("fail", "fail"), flow.gate("approve")]
    flow.job("report", "report", after_terminal=before)
    flow.job("report-in-thread", "report-in-thread", after_terminal=before)
    handle = await start(app, flow)
    refusal = {"why": "too dear"}
    await app.ledger.complete_gate(handle.id, "approve", status=WorkflowStepStatus.FAILED, output=refusal)
    worker = app.new_worker()
    await worker.start()

    await handle.wait(timeout=MINUTE)
    outputs = [step.output for step in await handle.steps() if step.step_key.startswith("report")]
    assert outputs == [{"silent": None, "fail": None, "approve": refusal}] * 2
    assert seen["async"] == {
        "silent": ("SUCCEEDED", None, None),
        "fail": ("FAILED", None, "app.broken"),
        "approve": ("FAILED", refusal, None),
    }
    assert seen["thread"] == seen["async"]
    await worker.stop()


async def test_a_step_may_be_finished_in_the_transaction_of_its_handler(app: App) -> None:
    @app.registry.job("write")
    async def write(context: AsyncJobContext, _payload: None) -> None:
        async with context.transaction():
            context.set_output({"rows": 1})

    flow = Workflow("written")
    flow.result_step(flow.job("b", "write", after=flow.job("a", "write")))
    handle = await start(app, flow)
    worker = app.new_worker()
    await worker.start()

    assert await handle.result(timeout=MINUTE) == {"rows": 1}
    await worker.stop()


async def test_a_gate_opens_the_way(app: App) -> None:
    @app.registry.job("publish")
    async def publish(context: AsyncJobContext, _payload: None) -> Any:
        return await context.prerequisite_outputs()

    flow = Workflow("approved")
    flow.result_step(flow.job("publish", "publish", after=flow.gate("approve")))
    handle = await start(app, flow)
    worker = app.new_worker()
    await worker.start()
    waiting = asyncio.create_task(handle.result(timeout=MINUTE))

    await app.ledger.complete_gate(handle.id, "approve", output={"by": "me"})

    assert await waiting == {"approve": {"by": "me"}}
    await worker.stop()
