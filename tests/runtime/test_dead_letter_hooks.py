"""Hooks of handlers whose jobs were given up: after the commit, at most once, and harmless."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from runledger.core import (
    JobContext,
    JobDeadLetterInfo,
    JobDeadLetterReason,
    JobFailure,
    JobFailureKind,
    JobHandler,
    JobStatus,
    JsonValue,
    Workflow,
)
from runledger.runtime import JobRegistry, Reaper
from runledger.runtime.dead_letter_hooks import DeadLetterHooks
from tests.runtime.app import App, quiet_config
from tests.runtime.log_watch import LogWatch

TYPE = "email.send"
LATER = timedelta(hours=1)


class Mailer(JobHandler):
    """Fails as its payload says, and remembers what its hook was told.

    Attributes:
        called: What the hook was given, once per call.
        was_called: Set with the first call.
    """

    job_type = TYPE

    def __init__(self) -> None:
        self.called: list[tuple[JobContext, Any, JobDeadLetterInfo]] = []
        self.was_called = asyncio.Event()

    async def execute(self, context: JobContext, payload: JsonValue) -> JsonValue | None:
        assert context
        raise JobFailure(JobFailureKind(str(payload)), "smtp.failed", "no luck")

    async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
        self.called.append((context, payload, info))
        self.was_called.set()


class PanickingMailer(Mailer):
    async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
        await super().on_dead_letter(context, payload, info)
        raise SystemExit(3)


class HangingMailer(Mailer):
    async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
        await super().on_dead_letter(context, payload, info)
        await asyncio.Event().wait()


class StubbornMailer(Mailer):
    """Its hook goes on when it is told to end."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()

    async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
        await super().on_dead_letter(context, payload, info)
        while not self.may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.may_end.wait()


def context_and_info() -> tuple[JobContext, JobDeadLetterInfo]:
    context = JobContext(job_id=uuid4(), job_type=TYPE, run_number=1, attempt=1, max_attempts=1, worker_id="worker-1")
    failure = JobFailure.terminal("smtp.failed", "no luck")
    return context, JobDeadLetterInfo(failure=failure, reason=JobDeadLetterReason.ATTEMPTS_EXHAUSTED)


# Of a worker ------------------------------------------------------------------------------------------------------


async def test_exhausted_attempts_call_the_hook(app: App) -> None:
    """WRK-007."""
    mailer = Mailer()
    app.registry.register(mailer, max_attempts=1)
    organization_id = uuid4()

    job = await app.run(TYPE, "RETRYABLE", organization_id=organization_id)

    assert job.status is JobStatus.DEAD_LETTERED
    ((context, payload, info),) = mailer.called
    assert (context.job_id, context.attempt, context.organization_id) == (job.id, 1, organization_id)
    assert context.worker_id.startswith("worker-")
    assert payload == "RETRYABLE"
    assert (info.reason, info.max_attempts) == (JobDeadLetterReason.ATTEMPTS_EXHAUSTED, 1)
    assert (info.failure.kind, info.failure.code) == (JobFailureKind.RETRYABLE, "smtp.failed")


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_a_failure_that_allows_no_retry_calls_the_hook(app: App, max_attempts: int) -> None:
    """WRK-008."""
    mailer = Mailer()
    app.registry.register(mailer, max_attempts=max_attempts)

    await app.run(TYPE, "TERMINAL")

    ((_, _, info),) = mailer.called
    assert info.reason is JobDeadLetterReason.FAILURE_KIND_NON_RETRYABLE
    assert info.max_attempts == max_attempts


async def test_the_hook_is_called_after_the_commit(app: App) -> None:
    class Reader(Mailer):
        async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
            assert (await app.job(context.job_id)).status is JobStatus.DEAD_LETTERED
            await super().on_dead_letter(context, payload, info)

    reader = Reader()
    app.registry.register(reader)

    await app.run(TYPE, "TERMINAL")

    assert len(reader.called) == 1


async def test_a_scheduled_retry_does_not_call_the_hook(app: App) -> None:
    """WRK-010."""
    mailer = Mailer()
    app.registry.register(mailer, max_attempts=2)

    job = await app.run(TYPE, "RETRYABLE")

    assert job.status is JobStatus.PENDING
    assert mailer.called == []


async def test_a_hook_that_panics_changes_nothing(app: App, log: LogWatch) -> None:
    """WRK-009."""
    mailer = PanickingMailer()
    app.registry.register(mailer)

    job = await app.run(TYPE, "TERMINAL")

    assert (job.status, job.last_error_code) == (JobStatus.DEAD_LETTERED, "smtp.failed")
    assert len(mailer.called) == 1
    assert len(log.named("worker.dead_letter_hook_failed")) == 1


async def test_a_hook_that_hangs_holds_up_neither_the_next_job_nor_the_stop(app: App) -> None:
    """WRK-009."""
    mailer = HangingMailer()
    app.registry.register(mailer)
    first = await app.enqueue(TYPE, "TERMINAL")

    async with app.worker(max_global_concurrency=1) as worker:
        await worker.run_once()
        await asyncio.wait_for(mailer.was_called.wait(), 10)
        second = await app.enqueue(TYPE, "TERMINAL")
        assert await worker.run_once() == 1
        await app.observer.until("(SELECT count(*) = 2 FROM runledger.job_queue WHERE status = 'DEAD_LETTERED')")
        async with asyncio.timeout(5):
            await worker.stop()

    assert (await app.job(first)).status is JobStatus.DEAD_LETTERED
    assert (await app.job(second)).status is JobStatus.DEAD_LETTERED


# Of the reaper ----------------------------------------------------------------------------------------------------


async def test_the_reaper_calls_the_hook_of_a_job_it_gives_up(app: App) -> None:
    """RPR-011."""
    mailer = Mailer()
    app.registry.register(mailer, max_attempts=1)
    organization_id = uuid4()
    job_id = await app.enqueue(TYPE, "RETRYABLE", organization_id=organization_id)
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config())

    assert await reaper.run_once() == 1
    await reaper.finish_hooks()
    await reaper.stop()

    ((context, payload, info),) = mailer.called
    assert (context.job_id, context.run_number, context.attempt) == (job_id, 1, 1)
    assert (context.organization_id, context.worker_id) == (organization_id, "reaper")
    assert payload == "RETRYABLE"
    assert (info.reason, info.max_attempts) == (JobDeadLetterReason.LEASE_EXPIRED, None)
    assert (info.failure.kind, info.failure.code) == (JobFailureKind.LEASE_EXPIRED, "job.lease_expired")


async def test_what_a_worker_gives_up_is_logged(app: App, log: LogWatch) -> None:
    app.registry.register(Mailer(), max_attempts=2)
    first = await app.run(TYPE, "TERMINAL")
    second = await app.run(TYPE, "RETRYABLE")

    (record,) = log.named("worker.job_dead_lettered")
    facts = {name: vars(record)[name] for name in ("job_id", "job_type", "attempt", "code")}
    assert facts == {"job_id": str(first.id), "job_type": TYPE, "attempt": 1, "code": "smtp.failed"}
    assert record.levelname == "WARNING"
    assert second.status is JobStatus.PENDING


async def test_what_a_reaper_gives_up_is_logged_together(app: App, log: LogWatch) -> None:
    app.registry.register(Mailer(), max_attempts=1)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    await app.enqueue_many(TYPE, 12)
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config())
    await reaper.run_once()
    await reaper.stop()

    (record,) = log.named("reaper.jobs_dead_lettered")
    assert vars(record)["job_count"] == 12
    assert len(vars(record)["job_ids"]) == 10


@pytest.mark.parametrize("who", ["worker", "reaper"])
async def test_a_hook_is_told_of_the_workflow_of_its_job(app: App, who: str) -> None:
    mailer = Mailer()
    app.registry.register(mailer, max_attempts=1)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    workflow = Workflow("letters")
    workflow.job("first", TYPE, "TERMINAL")
    run = await app.ledger.enqueue_workflow(workflow)

    if who == "worker":
        async with app.worker() as worker:
            await worker.run_once()
            await worker.finish_running()
    else:
        await app.expire_claim()
        reaper = Reaper(app.database, app.registry, quiet_config())
        await reaper.run_once()
        await reaper.finish_hooks()
        await reaper.stop()

    ((context, _, _),) = mailer.called
    assert (context.workflow_run_id, context.workflow_step_key) == (run.id, "first")


async def test_the_reaper_calls_no_hook_for_a_retry(app: App) -> None:
    mailer = Mailer()
    app.registry.register(mailer, max_attempts=2)
    await app.enqueue(TYPE, "RETRYABLE")
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config())

    assert await reaper.run_once() == 1
    await reaper.finish_hooks()
    await reaper.stop()

    assert mailer.called == []


async def test_a_hanging_hook_of_the_reaper_is_cut_off_and_the_loop_goes_on(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RPR-012."""
    monkeypatch.setattr("runledger.runtime.dead_letter_hooks._TIMEOUT_SECONDS", 0.05)
    app.registry.register(HangingMailer(), max_attempts=1)
    await app.enqueue(TYPE, "RETRYABLE")
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config())
    await reaper.start()
    try:
        await log.wait_for("worker.dead_letter_hook_failed")
        await app.enqueue(TYPE, "RETRYABLE")
        await app.expire_claim()
        reaper.wake()
        await app.observer.until("(SELECT count(*) = 2 FROM runledger.job_dead_letters)")
    finally:
        await asyncio.wait_for(reaper.stop(), 5)


async def test_a_reaper_with_hundreds_of_hooks_stops_promptly(app: App) -> None:
    """RPR-013. Those not begun are dropped."""
    mailer = HangingMailer()
    app.registry.register(mailer, max_attempts=1)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    await app.enqueue_many(TYPE, 300)
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config())
    await reaper.start()
    await asyncio.wait_for(mailer.was_called.wait(), 10)

    await asyncio.wait_for(reaper.stop(), 5)

    assert len(mailer.called) < 100
    assert await app.count("DEAD_LETTERED") == 300


async def test_a_type_without_handler_is_reaped_without_hook(app: App) -> None:
    """RPR-014."""
    app.registry.register(Mailer(), max_attempts=1)
    job_id = await app.enqueue(TYPE, "RETRYABLE")
    await app.expire_claim()
    reaper = Reaper(app.database, JobRegistry(), quiet_config())

    assert await reaper.run_once() == 1
    await reaper.stop()

    assert (await app.job(job_id)).status is JobStatus.DEAD_LETTERED


# By themselves ------------------------------------------------------------------------------------------------------


async def test_a_few_hooks_run_at_a_time() -> None:
    class Crowd(Mailer):
        running = 0
        most = 0

        async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
            Crowd.running += 1
            Crowd.most = max(Crowd.most, Crowd.running)
            await super().on_dead_letter(context, payload, info)
            Crowd.running -= 1

    registry = JobRegistry()
    crowd = Crowd()
    registry.register(crowd)
    hooks = DeadLetterHooks([registry])
    context, info = context_and_info()

    for _ in range(30):
        hooks.call_soon(context, None, info)
    await hooks.finish()

    assert len(crowd.called) == 30
    assert Crowd.most <= 8


async def test_a_plain_function_is_a_hook_too() -> None:
    called: list[object] = []

    class Plain:
        job_type = TYPE

        async def execute(self, context: JobContext, payload: Any) -> None:
            assert (context, payload) == ()

        def on_dead_letter(self, context: JobContext, payload: Any, info: JobDeadLetterInfo) -> None:
            called.append((context, payload, info))

    registry = JobRegistry()
    registry.register(Plain())  # pyright: ignore[reportArgumentType]
    hooks = DeadLetterHooks([registry])
    context, info = context_and_info()

    hooks.call_soon(context, 7, info)
    await hooks.finish()

    assert called == [(context, 7, info)]


async def test_a_hook_that_refuses_to_end_does_not_hold_up_the_stop() -> None:
    registry = JobRegistry()
    mailer = StubbornMailer()
    registry.register(mailer)
    hooks = DeadLetterHooks([registry])
    context, info = context_and_info()
    hooks.call_soon(context, None, info)
    await mailer.was_called.wait()

    await asyncio.wait_for(hooks.stop(), 5)

    mailer.may_end.set()
    await hooks.finish()


async def test_hooks_that_are_nearly_done_may_end_at_a_stop() -> None:
    ended: list[JobContext] = []

    class Quick(Mailer):
        async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
            await super().on_dead_letter(context, payload, info)
            await asyncio.to_thread(ended.append, context)

    registry = JobRegistry()
    registry.register(Quick())
    hooks = DeadLetterHooks([registry])
    context, info = context_and_info()
    hooks.call_soon(context, None, info)

    await hooks.stop()

    assert ended == [context]
