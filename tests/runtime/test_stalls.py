"""Handlers that hold the event loop, and threads that outlive their attempt: named in the log, with their place."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from runledger.core import JobContext, JobStatus
from runledger.runtime import ThreadJobContext
from runledger.runtime.execution import Execution
from runledger.runtime.stack_place import stack_place
from runledger.runtime.stall_watch import StallWatch, watch_of_running_loop
from tests.runtime.app import App
from tests.runtime.gate import echo
from tests.runtime.log_watch import LogWatch

TYPE = "report.render"
SECRET = "the secret of a payload"


def fields_of(log: LogWatch, event: str) -> dict[str, Any]:
    (record,) = log.named(event)
    return vars(record)


async def test_a_handler_that_blocks_the_event_loop_is_named_with_its_place(app: App, log: LogWatch) -> None:
    """The lease keeper's thread says it while it lasts, and once more when it is over."""

    @app.registry.job(TYPE)
    async def render(context: JobContext, payload: Any) -> None:
        assert context
        assert payload == SECRET
        hold_the_loop(log)

    job_id = await app.enqueue(TYPE, SECRET)
    async with app.worker(lease_ttl=timedelta(seconds=0.6)) as worker:
        await worker.run_once()
        await worker.finish_running()
        await log.wait_for("lease_keeper.loop_resumed")

    stalled = fields_of(log, "lease_keeper.loop_stalled")
    assert (stalled["job_type"], stalled["job_id"]) == (TYPE, str(job_id))
    functions = [place.rpartition(" ")[2] for place in stalled["place"]]
    assert any(function.endswith("hold_the_loop") for function in functions)
    assert len(stalled["place"]) <= 5
    assert any("runtime/test_stalls.py:" in place for place in stalled["place"])
    assert SECRET not in str([vars(record) for record in log.records])
    assert fields_of(log, "lease_keeper.loop_resumed")["seconds"] >= stalled["seconds"] > 0
    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED


def hold_the_loop(log: LogWatch) -> None:
    """Block until the stall was logged, which only another thread can have done."""
    noticed = threading.Event()
    emit = log.emit

    def watch(record: Any) -> None:
        emit(record)
        if record.msg == "lease_keeper.loop_stalled":
            noticed.set()

    log.emit = watch
    assert noticed.wait(20)


async def test_a_loop_that_something_else_holds_is_named_by_its_place_alone(app: App, log: LogWatch) -> None:
    async with app.worker(lease_ttl=timedelta(seconds=0.6)):
        asyncio.get_running_loop().call_soon(hold_the_loop, log)
        await log.wait_for("lease_keeper.loop_resumed")

    stalled = fields_of(log, "lease_keeper.loop_stalled")
    assert (stalled["job_type"], stalled["job_id"]) == (None, None)
    assert any("hold_the_loop" in place for place in stalled["place"])


async def test_a_stall_is_told_once_though_two_workers_run_in_the_loop(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one loop. The record names the worker whose handler holds it, though the other one may have noticed."""
    has_looked = threading.Semaphore(0)
    look = StallWatch.look

    def look_and_count(watch: StallWatch, *, stall_seconds: float) -> None:
        look(watch, stall_seconds=stall_seconds)
        has_looked.release()

    monkeypatch.setattr(StallWatch, "look", look_and_count)

    @app.registry.job(TYPE)
    async def render(context: JobContext, payload: Any) -> None:
        assert (context.worker_id, payload) == ("two", None)
        hold_the_loop(log)
        for _ in range(20):
            assert has_looked.acquire(timeout=20)

    await app.enqueue(TYPE)
    ttl = timedelta(seconds=0.6)
    async with app.worker(worker_id="one", lease_ttl=ttl), app.worker(worker_id="two", lease_ttl=ttl) as two:
        await two.run_once()
        await two.finish_running()
        await log.wait_for("lease_keeper.loop_resumed")

    assert fields_of(log, "lease_keeper.loop_stalled")["worker_id"] == "two"
    assert len(log.named("lease_keeper.loop_resumed")) == 1


async def test_a_loop_is_watched_until_the_last_worker_in_it_has_gone(log: LogWatch) -> None:
    watch = watch_of_running_loop()
    assert watch is watch_of_running_loop()
    one: set[Execution] = set()
    two: set[Execution] = set()
    watch.join(one)
    watch.join(two)
    watch.leave(one)
    watch.look(stall_seconds=0.0)
    assert len(log.named("lease_keeper.loop_stalled")) == 1

    watch.leave(two)
    watch.look(stall_seconds=0.0)
    watch.join(one)
    watch.look(stall_seconds=60.0)
    watch.leave(one)
    assert len(log.named("lease_keeper.loop_stalled")) == 1, "what a worker of before has left behind"
    assert log.named("lease_keeper.loop_resumed") == []


async def test_an_idle_worker_is_not_said_to_stall(app: App, log: LogWatch) -> None:
    async with app.worker(lease_ttl=timedelta(seconds=3)):
        await app.observer.until("(SELECT heartbeat_at > started_at FROM runledger.job_workers)")

    assert log.named("lease_keeper.loop_stalled") == []


async def test_a_thread_that_overruns_is_named_with_its_place_and_again_when_it_returns(
    app: App, log: LogWatch
) -> None:
    may_return = threading.Event()

    @app.registry.job(TYPE, timeout=timedelta(seconds=1))
    def render(context: JobContext, payload: Any) -> None:
        assert context
        assert payload == SECRET
        may_return.wait(20)

    job_id = await app.enqueue(TYPE, SECRET)
    async with app.worker() as worker:
        await worker.run_once()
        abandoned = vars(await log.wait_for("worker.thread_abandoned"))
        may_return.set()
        returned = vars(await log.wait_for("worker.thread_returned"))

    assert (abandoned["job_type"], abandoned["job_id"]) == (TYPE, str(job_id))
    assert any(place.endswith("<locals>.render") for place in abandoned["place"])
    assert returned["job_id"] == str(job_id)
    assert returned["seconds"] >= abandoned["seconds"] >= 1
    assert SECRET not in str([vars(record) for record in log.records])


async def test_a_thread_that_ends_soon_after_it_was_asked_to_is_not_named(app: App, log: LogWatch) -> None:
    """It listens, so there is nothing for anybody to do. Its slot is free again, which the second job shows."""

    @app.registry.job(TYPE, timeout=timedelta(seconds=1))
    def listen(context: ThreadJobContext, payload: Any) -> None:
        assert payload is None
        while not context.cancel_requested:
            pass

    app.registry.job("next")(echo)
    first = await app.enqueue(TYPE)
    worker = app.new_worker(max_global_concurrency=1)
    await worker.start()
    try:
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'LEASED')")
        await app.enqueue("next")
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    finally:
        await worker.stop()

    assert (await app.job(first)).last_error_code == "job.timeout_exceeded"
    assert log.named("worker.thread_abandoned") == log.named("worker.thread_returned") == []


async def test_a_thread_that_is_ending_when_the_worker_stops_is_named(app: App, log: LogWatch) -> None:
    """Nobody will look later."""
    may_return = threading.Event()

    @app.registry.job(TYPE, timeout=timedelta(seconds=1))
    def render(context: JobContext, payload: Any) -> None:
        assert context
        assert payload is None
        may_return.wait(20)

    await app.enqueue(TYPE)
    async with app.worker() as worker:
        await worker.run_once()
        await worker.finish_running()
        assert log.named("worker.thread_abandoned") == []

    assert fields_of(log, "worker.thread_abandoned")["worker_id"] == worker.worker_id
    may_return.set()
    await log.wait_for("worker.thread_returned")


def test_the_place_of_a_thread_that_has_ended_is_empty() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()

    assert stack_place(thread.ident) == []
    assert stack_place(None) == []
