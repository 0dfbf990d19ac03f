"""A run that an application keeps locked holds up its own outcomes, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from psycopg.sql import SQL, Literal

from runledger.client import WorkflowRunHandle
from runledger.core import JobContext, JobFailure, JobStatus, Workflow, WorkflowAppend, WorkflowRunStatus
from runledger.runtime.held_outcomes import HeldOutcomes
from runledger.runtime.job_context import AsyncJobContext
from runledger.runtime.outcome_queue import OutcomeQueue
from runledger.runtime.outcome_writer import LOCK_TIMEOUT, OutcomeWriter
from runledger.runtime.unwritten_outcome import Unwritten
from tests.runtime.app import App
from tests.runtime.gate import Gate
from tests.runtime.log_watch import LogWatch

MINUTE = timedelta(minutes=1)


async def start(app: App, name: str, job_type: str, count: int) -> WorkflowRunHandle:
    """Enqueue a run of so many steps that wait for nothing."""
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    flow = Workflow(name)
    for number in range(count):
        flow.job(f"{name}-{number}", job_type)
    return await app.ledger.enqueue_workflow(flow)


def no_op(app: App, *job_types: str) -> None:
    async def handle(context: JobContext, _payload: Any) -> None:
        assert context

    for job_type in job_types:
        app.registry.job(job_type)(handle)


async def test_other_runs_and_plain_jobs_go_on(app: App) -> None:
    """More of its steps than the worker may have unwritten outcomes: they do not count."""
    no_op(app, "step", "plain", "other")
    locked = await start(app, "locked", "step", 20)
    async with (
        asyncio.timeout(60),
        app.observer.locked_run(locked.id),
        app.worker(max_global_concurrency=3) as worker,
    ):
        for _ in range(10):
            await worker.run_once()
        for _ in range(7):
            await app.enqueue("plain")
        other = await start(app, "other", "other", 7)
        while (await other.status()) is WorkflowRunStatus.RUNNING:
            await worker.run_once()
        await app.observer.until(
            "(SELECT count(*) = 7 FROM runledger.job_queue WHERE job_type = 'plain' AND status = 'SUCCEEDED')"
        )
        assert await app.observer.value("SELECT count(*) FROM runledger.job_queue WHERE status = 'LEASED'") == 20

    assert (await locked.status()) is WorkflowRunStatus.RUNNING


async def test_a_worker_by_itself_goes_on_claiming_behind_a_locked_run(app: App) -> None:
    """What becomes held gives room, though nobody is done: the loop that waits for room must hear of it."""
    no_op(app, "step", "plain")
    locked = await start(app, "locked", "step", 20)
    worker = app.new_worker(max_global_concurrency=4)
    async with app.observer.locked_run(locked.id):
        await worker.start()
        await app.observer.until("(SELECT count(*) = 20 FROM runledger.job_queue WHERE status = 'LEASED')")
        plain = [await app.enqueue("plain", priority=1_000) for _ in range(5)]
        await app.observer.until("(SELECT count(*) = 5 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    assert (await locked.wait(timeout=MINUTE)).status is WorkflowRunStatus.SUCCEEDED
    await worker.stop()

    assert [(await app.job(job_id)).status for job_id in plain] == [JobStatus.SUCCEEDED] * 5


async def test_what_was_held_is_written_together_when_the_run_is_free(app: App) -> None:
    no_op(app, "step")
    locked = await start(app, "locked", "step", 20)
    async with app.worker(max_global_concurrency=20, claim_batch_size=20) as worker:
        async with app.observer.locked_run(locked.id):
            assert await worker.run_once() == 20
            await app.observer.until_blocked()
        await asyncio.wait_for(worker.finish_running(), 10)

    assert await locked.status() is WorkflowRunStatus.SUCCEEDED
    assert await app.observer.value("SELECT count(DISTINCT finished_at) FROM runledger.job_queue") == 1


async def test_a_run_that_is_free_again_does_not_wait_for_one_that_stays_locked(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for its turn, which it never has here."""
    no_op(app, "step")
    locked = await start(app, "locked", "step", 20)
    freed = await start(app, "freed", "step", 1)
    are_all_held = asyncio.Event()
    add = HeldOutcomes.add

    def note(held: HeldOutcomes, item: Unwritten) -> None:
        add(held, item)
        if held.count == 21:
            are_all_held.set()

    def locked_group(held: HeldOutcomes) -> list[Unwritten]:
        items = held.batches()[0]
        return [item for item in items if item.execution.job.workflow_run_id == locked.id] or items

    monkeypatch.setattr(HeldOutcomes, "add", note)
    monkeypatch.setattr(HeldOutcomes, "next_group", locked_group)
    async with (
        app.worker(max_global_concurrency=21, claim_batch_size=21) as worker,
        app.observer.locked_run(locked.id),
    ):
        async with app.observer.locked_run(freed.id):
            assert await worker.run_once() == 21
            await asyncio.wait_for(are_all_held.wait(), 20)
        assert (await freed.wait(timeout=timedelta(seconds=20))).status is WorkflowRunStatus.SUCCEEDED
        assert await locked.status() is WorkflowRunStatus.RUNNING


async def test_what_comes_later_of_a_held_run_is_held_without_a_try(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch would wait for the run in vain, and hold up the others in it."""
    monkeypatch.setattr("runledger.runtime.write_trouble._HELD_SECONDS", 0.0)
    tried: list[Unwritten] = []
    add = OutcomeQueue.add

    def note(queue: OutcomeQueue, item: Unwritten) -> None:
        tried.append(item)
        add(queue, item)

    monkeypatch.setattr(OutcomeQueue, "add", note)
    no_op(app, "step")
    locked = await start(app, "locked", "step", 6)
    async with app.worker(max_global_concurrency=6, claim_batch_size=3) as worker:
        async with app.observer.locked_run(locked.id):
            await worker.run_once()
            await log.wait_for("worker.outcomes_held")
            await worker.run_once()
        await asyncio.wait_for(worker.finish_running(), 20)

    assert len(tried) == 3
    assert await locked.status() is WorkflowRunStatus.SUCCEEDED


async def test_failures_of_a_held_run_are_held_too(app: App) -> None:
    @app.registry.job("step", max_attempts=1)
    async def fail(_context: JobContext, _payload: Any) -> None:
        raise JobFailure.retryable("smtp.busy", "try later")

    locked = await start(app, "locked", "step", 3)
    async with app.worker() as worker:
        async with app.observer.locked_run(locked.id):
            assert await worker.run_once() == 3
            await app.observer.until_blocked()
        await asyncio.wait_for(worker.finish_running(), 10)

    assert await locked.status() is WorkflowRunStatus.COMPLETED_WITH_ERRORS
    assert await app.count("DEAD_LETTERED") == 3


async def test_a_turn_waits_once_for_successes_and_failures(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[set[type[object]]] = []
    has_had_two = asyncio.Event()
    write = OutcomeWriter.write

    async def note(writer: OutcomeWriter, batch: list[Unwritten], **options: Any) -> None:
        if options.get("run_wait") == LOCK_TIMEOUT:
            turns.append({type(item.outcome) for item in batch})
            if len(turns) == 2:
                has_had_two.set()
        await write(writer, batch, **options)

    @app.registry.job("step", max_attempts=1)
    async def handle(context: JobContext, _payload: Any) -> None:
        if context.workflow_step_key == "locked-0":
            raise JobFailure.terminal("smtp.rejected", "no such mailbox")

    monkeypatch.setattr(OutcomeWriter, "write", note)
    locked = await start(app, "locked", "step", 3)
    async with app.worker() as worker:
        async with app.observer.locked_run(locked.id):
            await worker.run_once()
            await asyncio.wait_for(has_had_two.wait(), 20)
        await asyncio.wait_for(worker.finish_running(), 20)

    assert all(len(kinds) == 1 for kinds in turns)
    assert await locked.status() is WorkflowRunStatus.COMPLETED_WITH_ERRORS


async def test_who_keeps_a_run_locked_is_warned_of_once(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.runtime.write_trouble._HELD_SECONDS", 0.0)
    no_op(app, "step")
    locked = await start(app, "locked", "step", 2)
    async with app.worker() as worker:
        async with app.observer.locked_run(locked.id):
            await worker.run_once()
            await log.wait_for("worker.outcomes_held")
        await log.wait_for("worker.outcomes_free")
        await asyncio.wait_for(worker.finish_running(), 10)

    (warning,) = log.named("worker.outcomes_held")
    assert vars(warning)["job_count"] == 2
    assert vars(warning)["workflow_run_id"] == str(locked.id)
    assert len(log.named("worker.outcomes_free")) == 1


async def test_a_held_outcome_is_given_up_with_its_lease(app: App, log: LogWatch) -> None:
    no_op(app, "step")
    locked = await start(app, "locked", "step", 1)
    async with (
        app.observer.locked_run(locked.id),
        app.worker(lease_ttl=timedelta(seconds=1)) as worker,
    ):
        await worker.run_once()
        await app.observer.until_blocked()
        await app.observer.execute("UPDATE runledger.job_queue SET worker_id = 'somebody else'")
        await asyncio.wait_for(worker.finish_running(), 20)

    assert log.codes("worker.outcome_not_written") == ["job.lease_owner_mismatch"]
    assert await app.observer.value("SELECT status FROM runledger.job_queue") == JobStatus.LEASED.value


async def test_appends_to_a_locked_run_hold_up_no_call_of_other_handlers(app: App) -> None:
    @app.registry.job("appender")
    async def append(context: AsyncJobContext, _payload: Any) -> None:
        more = WorkflowAppend()
        more.job(f"more-{context.workflow_step_key}", "reader")
        await context.append_steps(more)

    @app.registry.job("reader")
    async def read(context: AsyncJobContext, _payload: Any) -> None:
        assert await context.prerequisite_outputs() == {}

    @app.registry.job("other")
    async def append_to_other(context: AsyncJobContext, _payload: Any) -> None:
        more = WorkflowAppend()
        more.job("more", "reader")
        await context.append_steps(more)

    locked = await start(app, "locked", "appender", 6)
    worker = app.new_worker(poll_interval=timedelta(milliseconds=20))
    async with app.observer.locked_run(locked.id):
        await worker.start()
        await app.observer.until_blocked()
        reading = await start(app, "reading", "reader", 1)
        appending = await start(app, "appending", "other", 1)
        for run in (reading, appending):
            assert (await run.wait(timeout=timedelta(seconds=20))).status is WorkflowRunStatus.SUCCEEDED
        assert await locked.status() is WorkflowRunStatus.RUNNING
    assert (await locked.wait(timeout=MINUTE)).status is WorkflowRunStatus.SUCCEEDED
    await worker.stop()


async def test_a_job_whose_run_is_deleted_before_its_outcome_is_written_ends_as_a_plain_one(app: App) -> None:
    gate = Gate()
    app.registry.job("step")(gate.handle)
    run = await start(app, "deleted", "step", 2)
    async with app.worker() as worker:
        assert await worker.run_once() == 2
        await gate.until_running(2)
        await app.observer.execute(SQL("DELETE FROM runledger.workflow_runs WHERE id = {}").format(Literal(run.id)))
        gate.open()
        await asyncio.wait_for(worker.finish_running(), 10)

    assert await app.count("SUCCEEDED") == 2
