"""What ledgers tell workers: after the commit, together, and only if asked to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from runledger.client import Ledger, SyncLedger
from runledger.core import EnqueueRequest, JobStatus
from runledger.postgres import Database, Operation, jobs, run, run_sync
from runledger.postgres.notices import Cancellation, Notices, WakeUp
from runledger.postgres.notifier import Notifier, SyncNotifier
from runledger.testing import EphemeralDatabase
from tests.channel import Channel, channel_to
from tests.client.blocking import AwaitedLedger
from tests.client.conftest import TYPE
from tests.observer import Observer

MINUTE = timedelta(minutes=1)
DUE = frozenset({TYPE})


@pytest.fixture
async def channel(runledger_database: EphemeralDatabase) -> AsyncGenerator[Channel]:
    async with channel_to(runledger_database.url) as channel:
        yield channel


async def due_at(observer: Observer, job_id: UUID) -> datetime:
    return await observer.value("SELECT next_run_at FROM runledger.job_queue WHERE id = %s", job_id)


async def claim(database: EphemeralDatabase) -> None:
    async with Database(database.url).own_connection() as connection:
        await connection.run(jobs.claim_jobs("worker-1", lease_ttl=MINUTE, limit=10, is_start=True))


# On a pool ------------------------------------------------------------------------------------------------------------


async def test_an_enqueue_is_told(ledger: Ledger, channel: Channel, observer: Observer) -> None:
    job_id = await ledger.enqueue(TYPE)

    assert await channel.next() == WakeUp(job_types=DUE, due_at=await due_at(observer, job_id))


async def test_a_job_due_since_the_beginning_of_time_is_told_as_due(ledger: Ledger, channel: Channel) -> None:
    await ledger.enqueue(TYPE, run_at=datetime(1, 1, 2, tzinfo=UTC))

    assert await channel.next() == WakeUp(job_types=DUE)


async def test_many_jobs_are_told_as_one_wake_up(ledger: Ledger, channel: Channel) -> None:
    await ledger.enqueue_many(EnqueueRequest(TYPE, number) for number in range(2_500))
    await ledger.close()

    (notice,) = await channel.notices()
    assert isinstance(notice, WakeUp)
    assert notice.job_types == DUE


async def test_a_requeue_is_told(ledger: Ledger, channel: Channel, observer: Observer) -> None:
    job_id = await ledger.enqueue(TYPE)
    await channel.next()
    await ledger.cancel_job(job_id)

    await ledger.requeue_job(job_id)
    assert await channel.next() == WakeUp(job_types=DUE, due_at=await due_at(observer, job_id))

    await ledger.cancel_job(job_id)
    await ledger.compare_and_requeue_job(job_id, expected_status=JobStatus.CANCELED, expected_run_number=2)
    assert await channel.next() == WakeUp(job_types=DUE, due_at=await due_at(observer, job_id))


async def test_a_cancel_is_told_if_somebody_holds_the_job(
    ledger: Ledger, channel: Channel, runledger_database: EphemeralDatabase
) -> None:
    held = await ledger.enqueue(TYPE)
    await channel.next()
    await claim(runledger_database)
    waiting = await ledger.enqueue(TYPE)
    await channel.next()

    await ledger.cancel_job(waiting)
    await ledger.cancel_job(held)

    assert await channel.next() == Cancellation(job_ids=frozenset({held}))


async def test_what_is_told_is_told_before_the_ledger_is_closed(ledger: Ledger, channel: Channel) -> None:
    await ledger.enqueue(TYPE)
    await ledger.close()

    assert len(await channel.notices()) == 1


# In the caller's transaction ------------------------------------------------------------------------------------------


async def test_in_a_transaction_it_is_told_at_the_commit_and_once(
    ledger: Ledger, channel: Channel, observer: Observer
) -> None:
    async with ledger.transaction() as connection:
        job_id = await ledger.enqueue(TYPE, connection=connection)
        await ledger.enqueue(TYPE, connection=connection)
        requests = [EnqueueRequest(TYPE, number) for number in range(2_500)]
        await ledger.enqueue_many(requests, connection=connection)
        await ledger.enqueue(TYPE, idempotency_key="order-17", connection=connection)
        assert await channel.notices() == []

    # Equal notifications of a transaction are one.
    assert await channel.notices() == [WakeUp(job_types=DUE, due_at=await due_at(observer, job_id))]


async def test_what_is_rolled_back_is_never_told(
    ledger: Ledger, channel: Channel, runledger_database: EphemeralDatabase
) -> None:
    job_id = await ledger.enqueue(TYPE)
    await channel.next()
    await claim(runledger_database)

    with contextlib.suppress(ZeroDivisionError):
        async with ledger.transaction() as connection:
            await ledger.enqueue(TYPE, connection=connection)
            await ledger.cancel_job(job_id, connection=connection)
            raise ZeroDivisionError
    await ledger.close()

    assert await channel.notices() == []


async def test_a_cancel_in_a_transaction_is_told_at_the_commit(
    ledger: Ledger, channel: Channel, runledger_database: EphemeralDatabase
) -> None:
    job_id = await ledger.enqueue(TYPE)
    await channel.next()
    await claim(runledger_database)

    async with ledger.transaction() as connection:
        await ledger.cancel_job(job_id, connection=connection)
        assert await channel.notices() == []

    assert await channel.notices() == [Cancellation(job_ids=frozenset({job_id}))]


# Switched off ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_ledger_that_does_not_notify_tells_nothing(
    ledger: Ledger, channel: Channel, runledger_database: EphemeralDatabase, *, is_blocking: bool
) -> None:
    assert ledger  # it knows the job type
    if is_blocking:
        silent = cast("Ledger", AwaitedLedger(SyncLedger.connect(runledger_database.url, notifies=False)))
    else:
        silent = await Ledger.connect(runledger_database.url, notifies=False)
    job_id = await silent.enqueue(TYPE)
    async with silent.transaction() as connection:
        await silent.enqueue_many([EnqueueRequest(TYPE, None)], connection=connection)
    await claim(runledger_database)
    await silent.cancel_job(job_id)
    await silent.requeue_job(job_id)
    await silent.close()

    assert await channel.notices() == []


# Together, and never in the way ---------------------------------------------------------------------------------------


def wake_up(number: int) -> str:
    due = datetime(2026, 5, 26, 12, number % 60, tzinfo=UTC)
    return WakeUp(job_types=frozenset({f"type.{number}"}), due_at=due).encode()


ALL_HUNDRED = WakeUp(
    job_types=frozenset(f"type.{number}" for number in range(1, 100)), due_at=datetime(2026, 5, 26, 12, 0, tzinfo=UTC)
)


async def test_what_comes_while_one_statement_is_on_its_way_is_told_together(
    runledger_database: EphemeralDatabase, channel: Channel
) -> None:
    pool = await Database(runledger_database.url).open_pool(min_size=1, max_size=1)
    notifier = Notifier(lambda operation: run(pool, operation))
    async with pool.connection():  # so that the first one waits
        notifier.tell(Notices(is_sent_inside=False, payloads=[wake_up(0)]))
        assert await channel.notices() == []
        for number in range(1, 100):
            notifier.tell(Notices(is_sent_inside=False, payloads=[wake_up(number)]))

    await notifier.finish()
    await pool.close()

    first, rest = await channel.notices()
    assert first == WakeUp(job_types=frozenset({"type.0"}), due_at=datetime(2026, 5, 26, 12, 0, tzinfo=UTC))
    assert rest == ALL_HUNDRED


async def test_a_thread_tells_together_what_comes_meanwhile_and_ends(
    runledger_database: EphemeralDatabase, channel: Channel
) -> None:
    pool = Database(runledger_database.url).open_sync_pool(min_size=1, max_size=1)
    is_asked = threading.Event()

    def run_noted(operation: Operation[None]) -> None:
        is_asked.set()
        run_sync(pool, operation)

    notifier = SyncNotifier(run_noted)
    with pool.connection():
        notifier.tell(Notices(is_sent_inside=False, payloads=[wake_up(0)]))
        await asyncio.to_thread(is_asked.wait, 20)
        for number in range(1, 100):
            notifier.tell(Notices(is_sent_inside=False, payloads=[wake_up(number)]))

    await asyncio.to_thread(notifier.finish)
    assert "runledger-notifier" not in {thread.name for thread in threading.enumerate()}
    notifier.tell(
        Notices(is_sent_inside=False, payloads=[wake_up(7)])
    )  # it goes on, as long as somebody has something to tell
    await asyncio.to_thread(notifier.finish)
    await asyncio.to_thread(pool.close)

    _, rest, last = await channel.payloads()
    assert rest == ALL_HUNDRED.encode()
    assert last == wake_up(7)


async def test_what_cannot_be_told_fails_nobody(
    runledger_database: EphemeralDatabase, ledger: Ledger, observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    """The application closes its pool right after the commit; the job is there all the same."""
    assert ledger  # it knows the job type
    caplog.set_level(logging.DEBUG, "runledger")
    pool = await Database(runledger_database.url).open_pool(min_size=1, max_size=1)
    hasty = Ledger(pool)

    await hasty.enqueue(TYPE)
    await pool.close()
    await hasty.close()

    assert await observer.value("SELECT count(*) FROM runledger.job_queue") == 1
    (record,) = [record for record in caplog.records if record.name == "runledger.notifier"]
    assert (record.levelname, record.msg, vars(record)["code"]) == (
        "DEBUG",
        "notifier.notices_dropped",
        "db.pool_closed",
    )


async def test_a_statement_that_never_ends_does_not_hold_up_the_end(
    runledger_database: EphemeralDatabase, observer: Observer
) -> None:
    assert observer
    pool = await Database(runledger_database.url).open_pool(min_size=1, max_size=1)
    blocking_pool = Database(runledger_database.url).open_sync_pool(min_size=1, max_size=1)
    notifier = Notifier(lambda operation: run(pool, operation))
    blocking = SyncNotifier(lambda operation: run_sync(blocking_pool, operation))
    try:
        async with pool.connection(), asyncio.timeout(10):
            notifier.tell(Notices(is_sent_inside=False, payloads=[wake_up(0)]))
            await notifier.finish()
        with blocking_pool.connection():
            blocking.tell(Notices(is_sent_inside=False, payloads=[wake_up(0)]))
            await asyncio.wait_for(asyncio.to_thread(blocking.finish), 10)
    finally:
        await asyncio.to_thread(blocking.finish)
        await asyncio.to_thread(blocking_pool.close)
        await pool.close()


def test_a_forked_process_tells_though_its_parent_was_telling() -> None:
    """The fork has no thread, and perhaps a lock that nobody there will let go."""
    script = (
        "import os, threading\n"
        "from runledger.postgres.notifier import SyncNotifier\n"
        "from runledger.postgres.notices import Notices, WakeUp\n"
        "notice = WakeUp(job_types=frozenset({'email.send'}), due_at=None).encode()\n"
        "notices = Notices(is_sent_inside=False, payloads=[notice])\n"
        "told, may_go_on = threading.Event(), threading.Event()\n"
        "def run(operation):\n"
        "    told.set()\n"
        "    if os.getpid() == parent: may_go_on.wait(20)\n"
        "parent = os.getpid()\n"
        "notifier = SyncNotifier(run)\n"
        "notifier.tell(notices)\n"
        "told.wait(20)\n"
        "lock = notifier._teller._changed\n"
        "with lock: child = os.fork()\n"
        "if child == 0:\n"
        "    notifier.finish()\n"
        "    told.clear()\n"
        "    notifier.tell(notices)\n"
        "    has_told = told.wait(20)\n"
        "    notifier.finish()\n"
        "    os._exit(0 if has_told else 1)\n"
        "may_go_on.set()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "notifier.finish()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)
