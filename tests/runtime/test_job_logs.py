"""Logs of jobs: what handlers say, and what the application logs while they run."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import Admin, JobLog, JobStatus
from runledger.postgres import Database, jobs
from runledger.runtime import AsyncJobContext, JobLogHandler, ThreadJobContext
from runledger.runtime.log_writer import LogWriter
from tests.runtime.app import App
from tests.runtime.hostile_values import SECRET, BrokenDict, Detached, Hidden, Name, NoText, Once, nested, unset
from tests.runtime.log_watch import LogWatch

TYPE = "email.send"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def shop() -> Iterator[logging.Logger]:
    """The logger of an application that attaches its records to jobs."""
    logger = logging.getLogger("tests.shop")
    handler = JobLogHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)


async def lines_of(app: App, job_id: UUID) -> list[JobLog]:
    return await app.ledger.list_job_logs(job_id, scope=Admin())


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_what_a_handler_says_is_in_the_ledger_in_its_order(app: App, kind: str) -> None:
    def say(context: AsyncJobContext | ThreadJobContext) -> None:
        context.log("page sent", page=1)
        context.log("page skipped", level="warning", page=2, reason={"code": 17})
        context.log("done")

    if kind == "async":

        @app.registry.job(TYPE)
        async def in_loop(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            say(context)

    else:

        @app.registry.job(TYPE)
        def in_thread(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
            say(context)

    job = await app.run(TYPE)

    lines = await lines_of(app, job.id)
    assert [(line.level, line.message, line.payload) for line in lines] == [
        ("INFO", "page sent", {"page": 1}),
        ("WARNING", "page skipped", {"page": 2, "reason": {"code": 17}}),
        ("INFO", "done", {}),
    ]
    assert {(line.run_number, line.attempt) for line in lines} == {(1, 1)}
    assert all(timedelta() < line.occurred_at - job.created_at < MINUTE for line in lines)


async def test_a_level_that_logging_knows_has_its_name_there(app: App) -> None:
    """A record of ``logging`` says WARNING, so a line that was meant as the same must not be found under WARN or 30."""

    @app.registry.job(TYPE)
    async def say(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        for level in ("warn", logging.WARNING, "fatal", "notice"):
            context.log("said", level=level)

    job = await app.run(TYPE)

    assert [line.level for line in await lines_of(app, job.id)] == ["WARNING", "WARNING", "CRITICAL", "NOTICE"]


async def test_records_of_logging_belong_to_the_job_that_runs(app: App, shop: logging.Logger) -> None:
    """Two jobs at once, each in its task, in tasks that it starts, in a thread, and in a copy of its context."""
    both_run = asyncio.Barrier(2)

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: int) -> None:  # noqa: ARG001 - a handler's parameters
        async def in_task() -> None:
            shop.info("task %s", payload)

        await both_run.wait()
        shop.info("handler %s", payload, extra={"order_id": payload})
        await asyncio.create_task(in_task())
        await asyncio.to_thread(shop.info, "thread %s", payload)
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(shop.info, "copy %s", payload))
        thread.start()
        await asyncio.to_thread(thread.join)
        shop.debug("below the level %s", payload)

    ids = await app.enqueue_many(TYPE, 2)
    async with app.worker() as worker:
        await worker.run_once()
        await worker.finish_running()
    shop.info("no job runs")

    for number, job_id in enumerate(ids):
        lines = await lines_of(app, job_id)
        assert [line.message for line in lines] == [
            f"{what} {number}" for what in ("handler", "task", "thread", "copy")
        ]
        assert lines[0].payload == {"logger": "tests.shop", "order_id": number}
    assert await app.observer.value("SELECT count(*) FROM runledger.job_logs") == 8


async def test_a_plain_handler_logs_from_its_thread(app: App, shop: logging.Logger) -> None:
    @app.registry.job(TYPE)
    def handle(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        try:
            int("bad page")
        except ValueError:
            shop.exception("failed")

    job = await app.run(TYPE)

    (line,) = await lines_of(app, job.id)
    assert (line.level, line.message) == ("ERROR", "failed")
    assert isinstance(line.payload, dict)
    assert "ValueError: invalid literal" in str(line.payload["traceback"])


async def test_what_postgresql_cannot_hold_is_changed_and_never_fails_the_handler(app: App) -> None:
    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        context.log("nul \0 and \ud800", value=float("nan"), thing=NoText(), text="a\0b", kept=1)
        context.log("  ", level=" ")
        context.log("x" * 10_000, long="y" * 100_000, other="z" * 10_000)

    job = await app.run(TYPE)

    assert job.status is JobStatus.SUCCEEDED
    first, second, third = await lines_of(app, job.id)
    assert first.message == "nul  and \N{REPLACEMENT CHARACTER}"
    assert first.payload == {"value": "nan", "thing": "<NoText: LookupError>", "text": "ab", "kept": 1}
    assert (second.level, second.message) == ("INFO", "(no message)")
    assert third.message.endswith("[cut]")
    assert isinstance(third.payload, dict)
    assert set(third.payload) == {"long", "runledger_cut"}


async def test_nothing_that_raises_when_it_is_logged_fails_the_handler(app: App) -> None:
    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        anything: Any = NoText()
        names: dict[str, Any] = {Name("a\0b"): 1}
        context.log(anything, level=anything)
        context.log("fields", detached=Detached(1), parts=[unset()], broken=BrokenDict(a=1), once=Once())
        context.log("names", **names)

    job = await app.run(TYPE)

    assert (job.status, job.last_error_message) == (JobStatus.SUCCEEDED, None)
    lines = await lines_of(app, job.id)
    assert [(line.level, line.message, line.payload) for line in lines] == [
        ("<NOTEXT: LOOKUPERROR>", "<NoText: LookupError>", {}),
        (
            "INFO",
            "fields",
            {
                "detached": "<Detached: LookupError>",
                "parts": ["<Part: AttributeError>"],
                "broken": "{'a': 1}",
                "once": {"a": 1.0},
            },
        ),
        ("INFO", "names", {"ab": 1}),
    ]


async def test_a_record_that_raises_when_it_is_read_is_attached_all_the_same(
    app: App, shop: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop, "propagate", False)  # pytest's own handler raises

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        shop.warning("extra", extra={"part": unset(), "thing": NoText()})
        shop.warning("%d pages", "two")
        shop.warning(NoText())

    job = await app.run(TYPE)

    extra, arguments, message = await lines_of(app, job.id)
    assert extra.payload == {
        "logger": "tests.shop",
        "part": "<Part: AttributeError>",
        "thing": "<NoText: LookupError>",
    }
    assert arguments.message == "%d pages (not formatted: TypeError)"
    assert message.message == "<NoText: LookupError> (not formatted: LookupError)"
    assert SECRET not in message.message


@pytest.mark.parametrize("levels", [975, 984, 100_000])
async def test_what_is_nested_deep_is_cut_and_the_log_can_be_read(app: App, levels: int) -> None:
    """About a thousand levels are more than Python reads, and it writes a few more than that."""

    @app.registry.job(TYPE)
    def handle(context: ThreadJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        context.log("before")
        context.log("state", state=nested(levels))
        context.log("after")

    job = await app.run(TYPE)

    assert job.status is JobStatus.SUCCEEDED
    before, state, after = await lines_of(app, job.id)
    assert (before.message, after.message) == ("before", "after")
    assert "nested too deep" in str(state.payload)


async def test_a_line_that_cannot_be_made_is_counted_as_lost(app: App, log: LogWatch) -> None:
    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        context.log("before")
        context.log("nobody knows what this is", thing=Hidden())
        context.log("after")

    job = await app.run(TYPE)

    assert job.status is JobStatus.SUCCEEDED
    assert [line.message for line in await lines_of(app, job.id)] == ["before", "after"]
    assert vars(await log.wait_for("worker.log_lines_lost"))["line_count"] == 1


async def test_a_log_is_kept_whatever_becomes_of_the_attempt(app: App) -> None:
    @app.registry.job(TYPE, max_attempts=1)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        context.log("before the end")
        raise RuntimeError("end")

    job = await app.run(TYPE)

    assert job.status is JobStatus.DEAD_LETTERED
    assert [line.message for line in await lines_of(app, job.id)] == ["before the end"]


async def test_a_stop_writes_what_waits(app: App) -> None:
    """Long before the lines would be gathered: a stop does not wait for that."""

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        for number in range(2_000):
            context.log(f"line {number}")

    job_id = await app.enqueue(TYPE)
    worker = app.new_worker()
    await worker.open()
    await worker.run_once()
    await worker.stop()

    assert await app.observer.value("SELECT count(*) FROM runledger.job_logs") == 2_000
    assert (await lines_of(app, job_id))[999].message == "line 999"


async def test_lines_wait_for_a_database_that_is_away_and_keep_their_time(app: App, log: LogWatch) -> None:
    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        context.log("said early")
        await log.wait_for("worker.log_write_failed")

    await app.observer.execute("ALTER TABLE runledger.job_logs RENAME TO hidden")
    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        record = await log.wait_for("worker.log_write_failed")
        await app.observer.until("SELECT status = 'SUCCEEDED' FROM runledger.job_queue")
        await app.observer.execute("ALTER TABLE runledger.hidden RENAME TO job_logs")
        await log.wait_for("worker.log_write_recovered")

    assert vars(record)["code"] == "schema.not_migrated"
    (line,) = await lines_of(app, job_id)
    finished_at = (await app.job(job_id)).finished_at
    assert finished_at is not None
    assert line.occurred_at < finished_at
    assert len(log.named("worker.log_write_failed")) == 1


async def test_a_line_that_is_refused_alone_is_lost_and_not_its_neighbours(app: App, log: LogWatch) -> None:
    await app.observer.execute("ALTER TABLE runledger.job_logs ADD CONSTRAINT own CHECK (message <> 'bad')")

    @app.registry.job(TYPE)
    async def handle(context: AsyncJobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        for message in ("a", "b", "bad", "c"):
            context.log(message)

    job = await app.run(TYPE)

    assert [line.message for line in await lines_of(app, job.id)] == ["a", "b", "c"]
    assert vars(await log.wait_for("worker.log_lines_lost"))["line_count"] == 1


async def test_what_waits_is_bounded_and_what_is_lost_is_said_once(log: LogWatch) -> None:
    """A database that is not there: nothing blocks, and the stop ends all the same."""
    writer = LogWriter(Database("postgresql://127.0.0.1:1/nowhere"), worker_id="worker-1", lease_ttl=MINUTE)
    line = jobs.JobLogLine(job_id=uuid4(), message="x" * 1_000)
    writer.start()
    for _ in range(12_000):
        writer.add(line)
    await log.wait_for("worker.log_write_failed")
    await writer.stop()
    writer.add(line)

    (record,) = log.named("worker.log_lines_lost")
    assert vars(record)["line_count"] == 12_000
