"""Progress and checkpoints of running handlers, and a cancel that reaches them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runledger.core import InvalidArgumentError, JobEventType, JobFailure, JobProgress, JobStatus
from runledger.postgres import QueryError, jobs
from runledger.runtime import AsyncJobContext, ThreadJobContext
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import Execution
from runledger.runtime.progress_writer import ProgressWriter
from tests.runtime.app import App
from tests.runtime.gate import Gate
from tests.runtime.log_watch import LogWatch

TYPE = "email.send"
MINUTE = timedelta(minutes=1)
SHORT = timedelta(seconds=0.6)

Steps = Callable[[Any], list[Any]]


def register(app: App, kind: str, steps: Steps) -> None:
    """Register a handler that does some steps, each a function that may return something to await."""
    if kind == "async":

        @app.registry.job(TYPE)
        async def in_loop(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            for step in steps(context):
                await step()

    else:

        @app.registry.job(TYPE)
        def in_thread(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            for step in steps(context):
                step()


both_kinds = pytest.mark.parametrize("kind", ["async", "thread"])


@both_kinds
async def test_progress_and_checkpoint_are_in_the_ledger(app: App, kind: str) -> None:
    register(
        app,
        kind,
        lambda context: [
            lambda: context.progress(1, 4, stage="sending"),
            lambda: context.progress(2),
            lambda: context.checkpoint({"page": 2}),
        ],
    )

    job = await app.run(TYPE)

    assert (job.status, job.progress_done, job.progress_total) == (JobStatus.SUCCEEDED, 2, 4)
    assert job.checkpoint == {"page": 2}
    assert await app.events(job.id) == [
        JobEventType.ENQUEUED,
        JobEventType.LEASED,
        JobEventType.STAGE_CHANGED,
        JobEventType.PROGRESS,
        JobEventType.PROGRESS,
        JobEventType.SUCCEEDED,
    ]


@both_kinds
async def test_progress_is_seen_by_others_while_the_handler_runs(app: App, kind: str) -> None:
    goes_on = threading.Event()
    seen: list[Any] = []

    def wait() -> Any:
        return asyncio.to_thread(goes_on.wait, 20) if kind == "async" else goes_on.wait(20)

    register(app, kind, lambda context: [lambda: context.progress(1, 2, stage="sending"), wait])
    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        await app.observer.until("SELECT progress_done = 1 FROM runledger.job_queue")
        seen.append((await app.job(job_id)).stage)
        goes_on.set()
        await worker.finish_running()

    assert seen == ["sending"]


@both_kinds
async def test_the_next_attempt_goes_on_from_the_checkpoint(app: App, kind: str) -> None:
    """LIFE-030."""
    found: list[Any] = []

    def fail() -> None:
        raise JobFailure.retryable("smtp.busy", "try later", retry_in=timedelta(milliseconds=1))

    def steps(context: Any) -> list[Any]:
        found.append(context.saved_checkpoint)
        return [lambda: context.checkpoint([context.attempt]), fail] if context.attempt == 1 else []

    register(app, kind, steps)
    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        await worker.finish_running()
        await app.observer.until("SELECT next_run_at <= clock_timestamp() FROM runledger.job_queue")
        await worker.run_once()
        await worker.finish_running()

    assert found == [None, [1]]
    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED


Report = Callable[[Any], Any]

UNSTORABLE: dict[str, tuple[Report, type[Exception], str]] = {
    "nothing": (lambda context: context.progress(), InvalidArgumentError, "done: is not given"),
    "negative": (lambda context: context.progress(-1), InvalidArgumentError, "progress_done"),
    "too many": (lambda context: context.progress(3, 2), InvalidArgumentError, "progress_done"),
    "none": (lambda context: context.checkpoint(None), InvalidArgumentError, "value: is None"),
    "no JSON": (lambda context: context.checkpoint({"a": float("nan")}), InvalidArgumentError, "checkpoint.a"),
    "more than stored": (
        lambda context: context.progress(9),
        QueryError,
        "report progress_done and progress_total together",
    ),
}


@both_kinds
@pytest.mark.parametrize(("report", "error", "text"), UNSTORABLE.values(), ids=UNSTORABLE)
async def test_what_cannot_be_stored_is_the_handlers_error(
    app: App, kind: str, report: Report, error: type[Exception], text: str
) -> None:
    raised: list[Exception] = []

    if kind == "async":

        @app.registry.job(TYPE)
        async def in_loop(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            await context.progress(total=5)
            try:
                await report(context)
            except Exception as caught:  # noqa: BLE001 - looked at below
                raised.append(caught)

    else:

        @app.registry.job(TYPE)
        def in_thread(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            context.progress(total=5)
            try:
                report(context)
            except Exception as caught:  # noqa: BLE001 - looked at below
                raised.append(caught)

    job = await app.run(TYPE)

    assert job.status is JobStatus.SUCCEEDED
    assert [type(caught) for caught in raised] == [error]
    assert text in str(raised[0])


async def test_one_refused_update_does_not_fail_its_neighbours(app: App) -> None:
    """Updates of many handlers share statements."""
    refused: list[object] = []
    together = asyncio.Barrier(20)

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: int) -> None:
        await context.progress(total=10)
        await together.wait()
        try:
            await context.progress(99 if payload == 7 else payload % 10)
        except QueryError:
            refused.append(payload)

    await app.enqueue_many(TYPE, 20)
    async with app.worker(claim_batch_size=20) as worker:
        await worker.run_once()
        await worker.finish_running()

    assert refused == [7]
    assert await app.observer.column("SELECT progress_done FROM runledger.job_queue ORDER BY id") == [
        None if number == 7 else number % 10 for number in range(20)
    ]


async def test_a_locked_job_delays_its_own_progress_only(app: App) -> None:
    gate = Gate()
    reported: list[int] = []

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: int) -> None:
        await gate.handle(context, payload)
        await context.progress(1)
        reported.append(payload)

    locked, _other = await app.enqueue_many(TYPE, 2)
    async with app.worker() as worker:
        await worker.run_once()
        await gate.until_running(2)
        async with app.observer.locked_job(locked):
            gate.open()
            await app.observer.until_blocked()
            await app.observer.until("SELECT count(*) = 1 FROM runledger.job_events WHERE event_type = 'PROGRESS'")
        await worker.finish_running()

    assert reported == [1, 0]


async def test_a_lost_connection_is_opened_again_and_the_progress_written(app: App, log: LogWatch) -> None:
    gate = Gate()

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: int) -> None:
        await gate.handle(context, payload)
        await context.progress(1)

    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        await gate.until_running(1)
        async with app.observer.locked_job(job_id):
            gate.open()
            await app.observer.until_blocked()
            await app.observer.end_blocked_sessions()
            await log.wait_for("worker.progress_delayed")
        await worker.finish_running()

    job = await app.job(job_id)
    assert (job.status, job.progress_done) == (JobStatus.SUCCEEDED, 1)


# A refused write, and a cancel -------------------------------------------------------------------------------------


@both_kinds
async def test_a_handler_whose_progress_is_refused_is_canceled(app: App, log: LogWatch, kind: str) -> None:
    """WRK-019. The job belongs to another worker; nothing is written."""
    gate = threading.Event()
    ended: list[BaseException] = []
    entered = threading.Event()

    if kind == "async":

        @app.registry.job(TYPE)
        async def in_loop(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            entered.set()
            await asyncio.to_thread(gate.wait, 20)
            try:
                await context.progress(1)
            except BaseException as caught:
                await asyncio.to_thread(str)  # it is canceled once, so it may clean up
                ended.append(caught)
                raise

    else:

        @app.registry.job(TYPE)
        def in_thread(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            entered.set()
            gate.wait(20)
            try:
                context.progress(1)
            except BaseException as caught:
                ended.append(caught)
                raise

    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        await asyncio.to_thread(entered.wait, 20)
        await app.observer.execute("UPDATE runledger.job_queue SET worker_id = 'other'")
        gate.set()
        await worker.finish_running()
        await log.wait_for("worker.outcome_not_written")

    job = await app.job(job_id)
    assert (job.status, job.worker_id, job.progress_done) == (JobStatus.LEASED, "other", None)
    assert await app.events(job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED]
    assert log.codes("worker.outcome_not_written") == ["job.lease_owner_mismatch"]
    if kind == "async":
        assert [type(caught) for caught in ended] == [asyncio.CancelledError]


async def test_a_task_of_the_handler_whose_progress_is_refused_cancels_the_handler(app: App, log: LogWatch) -> None:
    gate = Gate()

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:
        async def report() -> None:
            await gate.handle(context, payload)
            await context.progress(1)

        async with asyncio.TaskGroup() as group:
            group.create_task(report())
            group.create_task(asyncio.Event().wait())

    job_id = await app.enqueue(TYPE)
    await app.cancel_while_it_runs(job_id, gate)

    assert len(log.named("worker.job_canceled")) == 1


@both_kinds
async def test_a_cancel_reaches_the_handler_at_the_next_renewal(app: App, log: LogWatch, kind: str) -> None:
    """ADM-002. It is logged as what it is, and the job stays as the cancel left it."""
    entered = threading.Event()
    ended = threading.Event()

    if kind == "async":

        @app.registry.job(TYPE)
        async def in_loop(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    else:

        @app.registry.job(TYPE)
        def in_thread(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            entered.set()
            while not context.cancel_requested:
                ended.wait(0.005)
            ended.set()

    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=SHORT) as worker:
        await worker.run_once()
        assert await asyncio.to_thread(entered.wait, 20)
        canceled = await app.ledger.cancel_job(job_id, reason="obsolete")
        assert await asyncio.to_thread(ended.wait, 20)
        await worker.finish_running()
        record = await log.wait_for("worker.job_canceled")

    assert await app.job(job_id) == canceled
    assert await app.events(job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED, JobEventType.CANCELED]
    assert record.levelname == "INFO"
    assert (vars(record)["job_id"], vars(record)["attempt"]) == (str(job_id), 1)
    assert log.named("worker.outcome_not_written") == []


@pytest.mark.parametrize("failing", [False, True], ids=["success", "failure"])
async def test_the_late_outcome_of_a_canceled_job_is_not_written_and_logged_as_that(
    app: App,
    log: LogWatch,
    failing: bool,  # noqa: FBT001 - parametrized
) -> None:
    """The handler ends by itself, before any renewal tells it."""
    gate = Gate()

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> str:
        await gate.handle(context, payload)
        if failing:
            raise JobFailure.terminal("smtp.rejected", "no such mailbox")
        return "too late"

    job_id = await app.enqueue(TYPE)
    canceled = await app.cancel_while_it_runs(job_id, gate)

    assert await app.job(job_id) == canceled
    assert await app.dead_letter(job_id) is None
    assert len(log.named("worker.job_canceled")) == 1
    assert log.named("worker.outcome_not_written") == []


async def test_an_outcome_that_waited_behind_a_cancel_is_logged_as_canceled(app: App, log: LogWatch) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        await gate.until_running(1)
        async with app.ledger.transaction() as connection:
            await app.ledger.cancel_job(job_id, connection=connection)
            gate.open()
            await app.observer.until_blocked()
        await worker.finish_running()

    assert (await app.job(job_id)).status is JobStatus.CANCELED
    assert len(log.named("worker.job_canceled")) == 1


async def test_a_writer_that_has_stopped_cancels_who_comes_later(app: App) -> None:
    app.registry.job(TYPE)(Gate().handle)
    await app.enqueue(TYPE)
    async with app.database.own_connection() as connection:
        (job,) = await connection.run(jobs.claim_jobs("worker-1", lease_ttl=MINUTE, limit=1))
    writer = ProgressWriter(app.database, worker_id="worker-1", lease_ttl=MINUTE)
    await writer.stop()

    with pytest.raises(asyncio.CancelledError):
        await writer.write(Execution(job, claimed_at=monotonic(), lease_ttl=60), JobProgress(progress_done=1))
