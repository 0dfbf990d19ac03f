"""The listener: what it passes on, what it ignores, and how it survives the loss of its connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runledger.postgres import Database
from runledger.postgres.notices import WakeUp, encode_cancellations
from runledger.runtime.listener import Listener
from tests.channel import channel_to
from tests.runtime.app import App
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "email.send"
NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)
JOB_ID = UUID("0198c0de-0000-7000-8000-000000000001")


class Heard:
    """What a listener passes on."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[datetime | Collection[UUID] | None] = asyncio.Queue()

    def note(self, what: datetime | Collection[UUID] | None) -> None:
        self._queue.put_nowait(what)

    async def next(self) -> datetime | Collection[UUID] | None:
        return await asyncio.wait_for(self._queue.get(), 20)

    def rest(self) -> int:
        """How much was passed on and not looked at."""
        return self._queue.qsize()


@contextlib.asynccontextmanager
async def listening(database: Database) -> AsyncGenerator[tuple[Listener, Heard]]:
    """A listener for one job type, whose first wake-up was heard."""
    heard = Heard()
    listener = Listener(database, job_types=[TYPE], on_due=heard.note, on_canceled=heard.note, worker_id="one")
    await listener.start()
    try:
        yield listener, heard
    finally:
        await listener.stop()


def due(at: datetime, *job_types: str, delay: timedelta = timedelta()) -> str:
    return WakeUp(job_types=frozenset(job_types), due_at=at, delay=delay).encode()


async def test_it_passes_on_due_jobs_of_its_types_and_canceled_jobs(app: App) -> None:
    async with listening(app.database) as (_, heard), channel_to(app.url) as channel:
        assert await heard.next() is None  # something may have come before it listened

        await channel.send(
            due(NOON, "report"),
            due(NOON, "report", TYPE),
            WakeUp(due_at=NOON + timedelta(hours=1)).encode(),
            *encode_cancellations([JOB_ID]),
        )

        assert await heard.next() == NOON
        assert await heard.next() == NOON + timedelta(hours=1)
        assert await heard.next() == {JOB_ID}
        assert heard.rest() == 0


async def test_what_is_no_notice_is_ignored_and_said_without_its_text(app: App, log: LogWatch) -> None:
    forged = ["", "[" * 7_000, "secret", '{"delay_ms":-1}', '{"canceled":["secret"]}', '{"job_types":[7]}']
    async with listening(app.database) as (_, heard), channel_to(app.url) as channel:
        await heard.next()

        await channel.send(*forged, due(NOON, TYPE))

        assert await heard.next() == NOON
    ignored = log.named("listener.notice_ignored")
    assert [record.levelname for record in ignored] == ["DEBUG"] * len(forged)
    assert not any("secret" in str(vars(record)) for record in log.records)


async def test_a_job_that_is_due_soon_is_passed_on_when_it_is(app: App) -> None:
    soon = timedelta(milliseconds=300)
    async with listening(app.database) as (_, heard), channel_to(app.url) as channel:
        await heard.next()
        loop = asyncio.get_running_loop()
        sent_at = loop.time()

        await channel.send(*[due(NOON + soon, TYPE, delay=soon)] * 10, due(NOON, TYPE))

        assert await heard.next() == NOON
        assert await heard.next() == NOON + soon
        assert loop.time() - sent_at >= soon.total_seconds()
        assert heard.rest() < 9  # those of one moment are one


async def test_after_a_lost_session_it_listens_again_and_says_so_once(app: App, log: LogWatch) -> None:
    async with listening(app.database) as (_, heard), channel_to(app.url) as channel:
        await heard.next()

        await app.observer.end_listening_sessions()

        assert await heard.next() is None  # whatever was missed meanwhile
        await channel.send(due(NOON, TYPE))
        assert await heard.next() == NOON
    assert [record.levelname for record in log.named("listener.connection_lost")] == ["WARNING"]
    assert [record.levelname for record in log.named("listener.connection_recovered")] == ["INFO"]


async def test_while_the_database_is_away_it_tries_again_quietly(app: App, log: LogWatch) -> None:
    async with wire_to(app.url) as wire, listening(Database(wire.url)) as (listener, heard):
        await heard.next()
        wire.refuse()
        for attempt in range(3):
            listener.wake()
            await wire.until_refused(attempt + 1)
        wire.accept()
        listener.wake()

        assert await heard.next() is None
    assert log.codes("listener.connection_lost") == ["db.connection_failed"]
    assert len(log.named("listener.connection_recovered")) == 1


async def test_a_database_that_cannot_be_reached_at_the_start_is_no_error(app: App, log: LogWatch) -> None:
    async with wire_to(app.url) as wire:
        wire.refuse()
        async with listening(Database(wire.url)) as (listener, heard):
            await log.wait_for("listener.connection_lost")
            wire.accept()
            listener.wake()

            assert await heard.next() is None


async def test_behind_a_pooler_it_does_not_listen_and_says_so_once(app: App, log: LogWatch) -> None:
    async with wire_to(app.url) as wire:
        wire.is_pooler = True
        async with listening(Database(wire.url)) as (_, heard), channel_to(app.url) as channel:
            await channel.send(due(NOON, TYPE))

            assert await app.observer.listening_sessions() == 0
            await app.observer.until_sessions(at_most=0)
            assert heard.rest() == 0
    assert [record.levelname for record in log.named("listener.pooler_detected")] == ["WARNING"]
    assert log.named("listener.connection_lost") == []


async def test_it_leaves_no_session(app: App) -> None:
    async with listening(app.database) as (_, heard):
        await heard.next()

    await app.observer.until_sessions(at_most=0)


async def test_while_it_waits_it_sends_nothing(app: App) -> None:
    async with listening(app.database) as (_, heard), channel_to(app.url) as channel:
        await heard.next()
        last = (
            "SELECT state_change FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s AND query LIKE 'LISTEN%%'"
        )
        before = await app.observer.value(last, "runledger")
        await channel.send(*[due(NOON, TYPE)] * 100)
        await heard.next()

        assert await app.observer.value(last, "runledger") == before
