"""Workers hear of their jobs: the poll interval and the renewal interval of these tests are longer than the tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

from psycopg.sql import SQL, Literal

from runledger.client import Ledger, SyncLedger
from runledger.core import JobContext, JobStatus
from runledger.postgres import Database
from runledger.postgres.notices import encode_cancellations
from runledger.runtime import Worker
from runledger.runtime.wait import Eagerness
from tests.channel import channel_to
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "email.send"
HOUR = timedelta(hours=1)
RENEWED = SQL("(SELECT lease_expires_at > {} FROM runledger.job_queue WHERE id = {})")


@contextlib.asynccontextmanager
async def started(app: App, *, database: Database | None = None, **settings: Any) -> AsyncGenerator[Worker]:
    """A worker that hears, polls once an hour, and renews every twenty minutes."""
    worker = Worker(database or app.database, app.registry, quiet_config(lease_ttl=HOUR, **settings))
    try:
        await worker.start()
        yield worker
    finally:
        await worker.stop(handler_timeout=timedelta())


class Runs:
    """A handler that tells which payloads it was given."""

    def __init__(self) -> None:
        self._payloads: asyncio.Queue[Any] = asyncio.Queue()

    async def handle(self, context: JobContext, payload: Any) -> None:
        assert context
        self._payloads.put_nowait(payload)

    async def next(self) -> Any:
        return await asyncio.wait_for(self._payloads.get(), 20)

    def count(self) -> int:
        """How many runs nobody has asked for."""
        return self._payloads.qsize()


# Jobs -----------------------------------------------------------------------------------------------------------------


async def test_an_idle_worker_runs_what_a_ledger_enqueues(app: App) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app):
        # The first may still meet the claim at the start; the others can only be heard of.
        for number in range(4):
            await app.ledger.enqueue(TYPE, number)
            assert await runs.next() == number


async def test_an_idle_worker_runs_what_a_blocking_ledger_enqueues(app: App) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app):
        with SyncLedger.connect(app.url) as ledger:
            for number in range(4):
                await asyncio.to_thread(ledger.enqueue, TYPE, number)
                assert await runs.next() == number


async def test_an_idle_worker_runs_what_was_committed_in_a_transaction_and_nothing_before(app: App) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app):
        for number in range(4):
            async with app.ledger.transaction() as connection:
                await app.ledger.enqueue(TYPE, number, connection=connection)
                assert runs.count() == 0
            assert await runs.next() == number


async def test_an_idle_worker_runs_what_is_requeued(app: App) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app) as worker:
        job_id = await app.ledger.enqueue(TYPE)
        for _ in range(4):
            await runs.next()
            await worker.finish_running()
            await app.ledger.requeue_job(job_id)
        await runs.next()


async def test_a_job_that_is_due_soon_runs_when_it_is(app: App) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app):
        for number in range(3):
            await app.ledger.enqueue(TYPE, number, run_in=timedelta(milliseconds=100))
            assert await runs.next() == number


async def test_what_was_enqueued_while_nobody_listened_runs_after_the_reconnect(app: App, log: LogWatch) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app):
        await app.ledger.enqueue(TYPE, "heard")
        await runs.next()
        async with await Ledger.connect(app.url, notifies=False) as silent:
            await silent.enqueue(TYPE, "missed")
        assert runs.count() == 0

        await app.observer.end_listening_sessions()

        assert await runs.next() == "missed"
        await log.wait_for("listener.connection_recovered")


async def test_a_worker_that_does_not_listen_polls(app: App) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with started(app, listens=False, poll_interval=timedelta(milliseconds=20)):
        for number in range(3):
            await app.ledger.enqueue(TYPE, number)
            assert await runs.next() == number
        assert await app.observer.listening_sessions() == 0


async def test_behind_a_pooler_a_worker_polls(app: App, log: LogWatch) -> None:
    runs = Runs()
    app.registry.job(TYPE)(runs.handle)
    async with wire_to(app.url) as wire:
        wire.is_pooler = True
        async with started(app, database=Database(wire.url), poll_interval=timedelta(milliseconds=20)):
            for number in range(3):
                await app.ledger.enqueue(TYPE, number)
                assert await runs.next() == number
    assert len(log.named("listener.pooler_detected")) == 1


async def test_wake_ups_while_all_slots_are_taken_cost_no_claim(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    async with started(app, max_global_concurrency=1) as worker, channel_to(app.url) as channel:
        running = await app.enqueue(TYPE)
        await gate.until_running(1)
        last_claim = (
            "SELECT state_change FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = %s AND query LIKE '%%after_watermark%%'"
        )
        before = await app.observer.value(last_claim, "runledger")
        leased_until = (await app.job(running)).lease_expires_at

        await app.ledger.enqueue(TYPE)
        await channel.send(*['{"job_types":null}'] * 100, *encode_cancellations([running]))
        # They are heard in order, and the last one asks for a renewal.
        await app.observer.until(RENEWED.format(Literal(leased_until), Literal(running)))

        assert await app.observer.value(last_claim, "runledger") == before
        gate.open()
        await app.observer.until("(SELECT count(*) = 2 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
        await worker.finish_running()


def test_who_finds_nothing_leaves_the_next_jobs_to_others_for_a_moment() -> None:
    eagerness = Eagerness()
    pauses: list[float] = []
    for _ in range(10):
        pauses.append(eagerness.pause_seconds)
        eagerness.claimed(0, is_woken=True)

    assert pauses[:2] == [0.0, 0.0]
    assert pauses[2:] == sorted(pauses[2:])
    assert 0 < pauses[2] < pauses[-1] == 0.05

    eagerness.claimed(0, is_woken=False)  # a poll that finds nothing says nothing about others
    assert eagerness.pause_seconds == 0.05
    eagerness.claimed(1, is_woken=False)
    assert eagerness.pause_seconds == 0.0


# Canceled jobs --------------------------------------------------------------------------------------------------------


async def test_an_async_handler_is_canceled_at_once(app: App, log: LogWatch) -> None:
    """The next renewal would be in twenty minutes."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    async with started(app) as worker:
        job_id = await app.enqueue(TYPE)
        await gate.until_running(1)

        await app.ledger.cancel_job(job_id)

        await gate.until_running(0)
        await worker.finish_running()
    assert (await app.job(job_id)).status is JobStatus.CANCELED
    assert len(log.named("worker.job_canceled")) == 1
    assert log.named("worker.outcome_not_written") == []


async def test_a_handler_is_canceled_when_the_transaction_of_the_cancel_commits(app: App, log: LogWatch) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    async with started(app) as worker:
        job_id = await app.enqueue(TYPE)
        await gate.until_running(1)

        async with app.ledger.transaction() as connection:
            await app.ledger.cancel_job(job_id, connection=connection)
            assert gate.running == 1

        await gate.until_running(0)
        await worker.finish_running()
    assert len(log.named("worker.job_canceled")) == 1


async def test_a_handler_in_a_thread_sees_that_it_is_to_end(app: App, log: LogWatch) -> None:
    is_running = threading.Event()
    never = threading.Event()

    @app.registry.job(TYPE)
    def wait(context: Any, payload: Any) -> None:
        assert payload is None
        is_running.set()
        while not context.cancel_requested:
            never.wait(0.005)

    async with started(app) as worker:
        job_id = await app.enqueue(TYPE)
        await asyncio.to_thread(is_running.wait, 20)

        await app.ledger.cancel_job(job_id)

        await asyncio.wait_for(worker.finish_running(), 20)
    assert (await app.job(job_id)).status is JobStatus.CANCELED
    assert len(log.named("worker.job_canceled")) == 1


async def test_a_forged_cancellation_does_no_more_than_renew_the_lease(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    async with started(app) as worker:
        job_id = await app.enqueue(TYPE)
        await gate.until_running(1)
        leased_until = (await app.job(job_id)).lease_expires_at

        async with channel_to(app.url) as channel:
            await channel.send(*encode_cancellations([job_id]))

        await app.observer.until(RENEWED.format(Literal(leased_until), Literal(job_id)))
        assert gate.running == 1
        gate.open()
        await worker.finish_running()
    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED


async def test_a_type_that_is_resumed_is_claimed_at_once(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    await app.ledger.pause_job_type(TYPE)
    async with started(app) as worker:
        job_id = await app.enqueue(TYPE)
        assert await worker.run_once() == 0

        await app.ledger.resume_job_type(TYPE)

        await gate.until_running(1)
        gate.open()
        await worker.finish_running()
    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED
