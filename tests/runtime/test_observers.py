"""Observers: told what was committed, in order, and unable to harm a job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import InvalidArgumentError, JobContext, JobFailure, JobStatus, LeaseIdentity
from runledger.runtime import (
    LifecycleEvent,
    LifecycleEventKind,
    ObserverFeed,
    Supervisor,
)
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate, echo
from tests.runtime.log_watch import LogWatch

TYPE = "email.send"
Kind = LifecycleEventKind


class Notebook:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[LifecycleEvent] = []
        self._has_news = asyncio.Event()

    async def observe(self, events: Sequence[LifecycleEvent]) -> None:
        self.events += events
        self._has_news.set()

    def kinds_of(self, job_id: UUID) -> list[LifecycleEventKind]:
        return [event.kind for event in self.events if event.lease.job_id == job_id]

    async def until(self, kind: LifecycleEventKind) -> LifecycleEvent:
        async with asyncio.timeout(20):
            while not (found := [event for event in self.events if event.kind is kind]):
                self._has_news.clear()
                await self._has_news.wait()
        return found[0]


def an_event(number: int = 1) -> LifecycleEvent:
    lease = LeaseIdentity(job_id=uuid4(), run_number=1, attempt=number, worker_id="worker-1")
    return LifecycleEvent(kind=Kind.STARTED, lease=lease, job_type=TYPE, organization_id=None)


async def test_an_observer_that_raises_a_cancellation_of_its_own_is_told_what_follows(log: LogWatch) -> None:
    """As one does that waits for a task of its own which was canceled."""
    told: list[LifecycleEvent] = []
    has_second = asyncio.Event()

    class Canceled:
        async def observe(self, events: Sequence[LifecycleEvent]) -> None:
            told.extend(events)
            if len(told) == 1:
                raise asyncio.CancelledError
            has_second.set()

    feed = ObserverFeed([Canceled()])
    feed.tell(an_event(1))
    await log.wait_for("observer.failed")
    feed.tell(an_event(2))
    await asyncio.wait_for(has_second.wait(), 10)
    await feed.stop()

    assert [event.lease.attempt for event in told] == [1, 2]


async def test_every_way_of_an_attempt_is_told_with_its_code(app: App) -> None:
    gate = Gate()
    app.registry.job("hold")(gate.handle)

    @app.registry.job(TYPE, max_attempts=2)
    async def send(context: JobContext, payload: Any) -> None:
        assert context
        if payload != 0:
            raise JobFailure.retryable("smtp.busy", "later") if payload == 1 else JobFailure.terminal("no.user", "gone")

    succeeds, retries, fails = await app.enqueue_many(TYPE, 3)
    canceled, lost = await app.enqueue("hold"), await app.enqueue("hold")
    notebook = Notebook()
    feed = ObserverFeed([notebook])
    worker = app.new_worker(worker_id="one", lease_ttl=timedelta(seconds=0.6), observers=feed)
    await worker.open()
    try:
        await worker.run_once()
        await gate.until_running(2)
        await app.ledger.cancel_job(canceled)
        await notebook.until(Kind.CANCELED)
        await app.observer.execute(
            "UPDATE runledger.job_queue SET worker_id = 'other', lease_expires_at = now() + interval '1 h'"
            " WHERE status = 'LEASED'"
        )
        await notebook.until(Kind.LEASE_LOST)
        await worker.finish_running()
    finally:
        await worker.stop()
        await feed.stop()

    assert {job_id: notebook.kinds_of(job_id) for job_id in (succeeds, retries, fails, canceled, lost)} == {
        succeeds: [Kind.STARTED, Kind.SUCCEEDED],
        retries: [Kind.STARTED, Kind.RETRY_SCHEDULED],
        fails: [Kind.STARTED, Kind.DEAD_LETTERED],
        canceled: [Kind.STARTED, Kind.CANCELED],
        lost: [Kind.STARTED, Kind.LEASE_LOST],
    }
    codes = {event.kind: event.code for event in notebook.events}
    assert codes == {
        Kind.STARTED: None,
        Kind.SUCCEEDED: None,
        Kind.RETRY_SCHEDULED: "smtp.busy",
        Kind.DEAD_LETTERED: "no.user",
        Kind.CANCELED: "job.canceled",
        Kind.LEASE_LOST: "job.lease_owner_mismatch",
    }
    done = await notebook.until(Kind.SUCCEEDED)
    assert (done.job_type, done.lease.worker_id, done.lease.attempt) == (TYPE, "one", 1)
    assert done.duration is not None
    assert timedelta() <= done.duration < timedelta(seconds=20)


async def test_an_event_is_told_after_its_commit(app: App) -> None:
    app.registry.job(TYPE)(echo)
    job_id = await app.enqueue(TYPE)
    seen: list[JobStatus] = []

    class Reader:
        async def observe(self, events: Sequence[LifecycleEvent]) -> None:
            ended = [event for event in events if event.kind is Kind.SUCCEEDED]
            seen.extend([(await app.job(event.lease.job_id)).status for event in ended])

    feed = ObserverFeed([Reader()])
    worker = app.new_worker(observers=feed)
    await worker.open()
    await worker.run_once()
    await worker.finish_running()
    await worker.stop()
    await feed.stop()

    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED
    assert seen == [JobStatus.SUCCEEDED]


async def test_a_reaper_tells_of_its_dead_letters(app: App) -> None:
    app.registry.job(TYPE, max_attempts=1)(echo)
    job_id = await app.enqueue(TYPE)
    await app.expire_claim()
    notebook = Notebook()
    supervisor = Supervisor(app.database, app.registry, quiet_config(), runs_worker=False, observers=[notebook])
    await supervisor.start()
    event = await notebook.until(Kind.DEAD_LETTERED)
    await supervisor.stop()

    assert (event.lease.job_id, event.lease.worker_id, event.code) == (job_id, "reaper", "job.lease_expired")


async def test_observers_that_raise_or_never_return_harm_neither_jobs_nor_each_other(app: App, log: LogWatch) -> None:
    release = threading.Event()

    class Raising:
        async def observe(self, events: Sequence[LifecycleEvent]) -> None:
            assert events
            raise SystemExit("no")

    class Hanging:
        async def observe(self, events: Sequence[LifecycleEvent]) -> None:
            assert events
            await asyncio.Event().wait()

    class Blocking:
        def observe(self, events: Sequence[LifecycleEvent]) -> None:
            assert events
            release.wait(20)

    async def send(context: JobContext, payload: Any) -> Any:
        assert context
        return payload

    app.registry.job(TYPE)(send)
    await app.enqueue_many(TYPE, 20)
    notebook = Notebook()
    observers = [Raising(), Hanging(), Blocking(), notebook]
    config = quiet_config(poll_interval=timedelta(milliseconds=5))
    supervisor = Supervisor(app.database, app.registry, config, observers=observers)
    await supervisor.start()
    try:
        await app.observer.until("(SELECT count(*) = 20 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    finally:
        report = await asyncio.wait_for(supervisor.stop(), 10)
        release.set()

    assert report.is_clean
    assert [event.kind for event in notebook.events].count(Kind.SUCCEEDED) == 20
    assert len(log.named("observer.failed")) == 1
    assert {vars(record)["observer"].rpartition(".")[2] for record in log.named("observer.events_missed")} <= {
        "Hanging",
        "Blocking",
    }


async def test_a_plain_observer_is_called_in_a_thread_one_batch_at_a_time() -> None:
    names: list[str] = []
    attempts: list[int] = []
    running = 0

    class Plain:
        def observe(self, events: Sequence[LifecycleEvent]) -> None:
            nonlocal running
            running += 1
            assert running == 1
            names.append(threading.current_thread().name)
            attempts.extend(event.lease.attempt for event in events)
            running -= 1

    feed = ObserverFeed([Plain()])
    for number in range(1, 1_200):
        feed.tell(an_event(number))
    await feed.stop()

    assert attempts == list(range(1, 1_200))
    assert all(name.startswith("runledger-handler-") for name in names)


async def test_an_observer_that_falls_behind_misses_events_and_the_log_says_how_many(
    log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.runtime.observer_feed._MOST_WAITING", 5)
    notebook = Notebook()
    feed = ObserverFeed([notebook])
    for number in range(8):
        feed.tell(an_event(number + 1))
    await feed.stop()

    assert [event.lease.attempt for event in notebook.events] == [1, 2, 3, 4, 5]
    assert [vars(record)["event_count"] for record in log.named("observer.events_missed")] == [3]


async def test_an_observer_that_takes_too_long_is_canceled_and_told_the_next(
    log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.runtime.observer_feed._TIMEOUT_SECONDS", 0.01)
    notebook = Notebook()

    class SlowAtFirst:
        async def observe(self, events: Sequence[LifecycleEvent]) -> None:
            if events[0].lease.attempt == 1:
                await asyncio.Event().wait()
            await notebook.observe(events)

    feed = ObserverFeed([SlowAtFirst()])
    feed.tell(an_event(1))
    await log.wait_for("observer.failed")
    feed.tell(an_event(2))
    await feed.stop()

    assert [event.lease.attempt for event in notebook.events] == [2]


@pytest.mark.parametrize("observer", [object(), Notebook, None])
async def test_what_is_no_observer_is_refused(app: App, observer: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^observers: contains an object without observe\(\); pass"):
        Supervisor(app.database, app.registry, quiet_config(), observers=[observer])


async def test_one_observer_in_place_of_several_is_refused(app: App) -> None:
    one: Any = Notebook()

    with pytest.raises(InvalidArgumentError, match=r"^observers: is of type Notebook; put objects .* into a list$"):
        Supervisor(app.database, app.registry, quiet_config(), observers=one)
