"""Keeping leases: while handlers run, while the event loop stands still, and while PostgreSQL does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from runledger.core import ClaimedJob, JobContext, JobEventType, JobStatus
from runledger.postgres import Database, DatabaseConnectionError, jobs
from runledger.runtime import Reaper, Worker
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.lease_keeper import LeaseKeeper
from runledger.runtime.worker_identity import worker_identity
from runledger.testing import EphemeralDatabase
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "email.send"
WORKER = "worker-1"
MINUTE = timedelta(minutes=1)
IDENTITY = worker_identity(WORKER, job_types=[TYPE], slots=8)


def refuse() -> None:
    raise AssertionError("nobody takes the id")


async def claim(app: App, count: int) -> list[ClaimedJob]:
    """Enqueue jobs and claim them for the worker of these tests, which does not exist."""
    app.registry.job(TYPE)(Gate().handle)
    await app.enqueue_many(TYPE, count)
    async with app.database.own_connection() as connection:
        return await connection.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=count, is_start=True))


def execution_of(job: ClaimedJob, *, claimed_ago: timedelta = timedelta()) -> Execution:
    return Execution(job, claimed_at=monotonic() - claimed_ago.total_seconds(), lease_ttl=MINUTE.total_seconds())


@contextlib.asynccontextmanager
async def keeping(
    app: App,
    *executions: Execution,
    database: Database | None = None,
    lease_ttl: timedelta = MINUTE,
    on_id_taken: Callable[[], None] | None = None,
) -> AsyncGenerator[LeaseKeeper]:
    """A keeper that renews when it is told to; by itself it does so after a third of the time to live."""
    keeper = LeaseKeeper(
        database or app.database,
        worker_id=WORKER,
        lease_ttl=lease_ttl,
        held=set(executions),
        on_id_taken=on_id_taken or refuse,
    )
    await keeper.start(IDENTITY)
    try:
        yield keeper
    finally:
        await keeper.stop()


async def renew(keeper: LeaseKeeper) -> bool:
    return await asyncio.to_thread(keeper.renew)


async def lease_end(app: App, job_id: UUID) -> datetime:
    return await app.observer.value("SELECT lease_expires_at FROM runledger.job_queue WHERE id = %s", job_id)


# One renewal ------------------------------------------------------------------------------------------------------


async def test_a_renewal_extends_every_lease_and_writes_no_event(app: App) -> None:
    """WRK-018."""
    claimed = await claim(app, 3)
    executions = [execution_of(job, claimed_ago=timedelta(seconds=30)) for job in claimed]
    good_until = [execution.lease_good_until for execution in executions]

    async with keeping(app, *executions) as keeper:
        assert await renew(keeper)

    for job, execution, before in zip(claimed, executions, good_until, strict=True):
        assert await lease_end(app, job.job_id) > job.lease_expires_at
        assert execution.lease_good_until > before
        assert await app.events(job.job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED]


async def test_more_leases_than_one_statement_takes_are_renewed(app: App) -> None:
    claimed = await claim(app, 1_001)

    async with keeping(app, *(execution_of(job) for job in claimed)) as keeper:
        assert await renew(keeper)

    renewed = "SELECT count(*) FROM runledger.job_queue WHERE lease_expires_at > %s"
    assert await app.observer.value(renewed, claimed[0].lease_expires_at) == 1_001


async def test_a_lease_is_not_renewed_for_ever(app: App) -> None:
    """A handler that holds the event loop loses its job one time to live after its timeout."""
    (job,) = await claim(app, 1)
    overdue = timedelta(seconds=job.timeout_seconds) + MINUTE + timedelta(seconds=1)

    async with keeping(app, execution_of(job, claimed_ago=overdue)) as keeper:
        assert await renew(keeper)

    assert await lease_end(app, job.job_id) == job.lease_expires_at


async def test_a_locked_row_is_renewed_soon_after(app: App) -> None:
    """An application's open transaction must not stop the renewal of the others, nor wait for ever for its own."""
    first, second = await claim(app, 2)
    executions = [execution_of(first), execution_of(second)]

    async with keeping(app, *executions) as keeper:
        async with app.observer.locked_job(first.job_id):
            assert not await renew(keeper)
            assert await lease_end(app, first.job_id) == first.lease_expires_at
            assert await lease_end(app, second.job_id) > second.lease_expires_at
        assert await renew(keeper)

    assert await lease_end(app, first.job_id) > first.lease_expires_at
    assert [execution.cancel_cause for execution in executions] == [None, None]


async def test_a_lost_lease_cancels_its_handler_and_no_other(app: App) -> None:
    """WRK-019."""
    first, second = await claim(app, 2)
    lost, kept = execution_of(first), execution_of(second)
    task = asyncio.create_task(asyncio.Event().wait())
    lost.begin(task)
    await app.observer.execute("UPDATE runledger.job_queue SET worker_id = 'other' WHERE payload = '0'")

    async with keeping(app, lost, kept) as keeper:
        assert await renew(keeper)
        with pytest.raises(asyncio.CancelledError):
            await task

    assert lost.cancel_cause is CancelCause.LEASE_LOST
    assert kept.cancel_cause is None


async def test_a_job_claimed_anew_is_renewed_beside_its_earlier_attempt(app: App) -> None:
    """The earlier handler ignores that its lease was lost; its worker got the job again after the reaper."""
    (job,) = await claim(app, 1)
    earlier = execution_of(job)
    reaper = Reaper(app.database, app.registry, quiet_config())
    await reaper.run_once(now=job.lease_expires_at + MINUTE)
    await reaper.stop()
    async with app.database.own_connection() as connection:
        now = job.lease_expires_at + 2 * MINUTE
        (again,) = await connection.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1, is_start=True, now=now))
    later = execution_of(again)

    async with keeping(app, earlier, later) as keeper:
        assert await renew(keeper)
        await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=0)  # the loop turns once

    assert await lease_end(app, job.job_id) != again.lease_expires_at
    assert earlier.cancel_cause is CancelCause.LEASE_LOST
    assert later.cancel_cause is None


async def test_a_renewal_after_a_lost_connection_connects_again(app: App, log: LogWatch) -> None:
    (job,) = await claim(app, 1)
    async with wire_to(app.url) as wire:
        database = Database(wire.url)
        async with keeping(app, execution_of(job), database=database, lease_ttl=timedelta(seconds=2)):
            wire.cut()
            await log.wait_for("lease_keeper.renewal_failed")
            await log.wait_for("lease_keeper.renewal_recovered")

    assert log.codes("lease_keeper.renewal_failed") == ["db.connection_failed"]


async def test_a_renewal_that_nobody_answers_is_given_up_after_a_third_of_the_lease(app: App, log: LogWatch) -> None:
    """The network swallows everything and tells nobody, so no timeout of the server or of TCP ends the wait."""
    (job,) = await claim(app, 1)
    async with wire_to(app.url) as wire:
        database = Database(wire.url)
        async with keeping(app, execution_of(job), database=database, lease_ttl=timedelta(seconds=1)):
            wire.freeze()
            await log.wait_for("lease_keeper.renewal_failed")
            wire.thaw()
            await log.wait_for("lease_keeper.renewal_recovered")

    assert log.codes("lease_keeper.renewal_failed") == ["db.connection_failed"]


async def test_a_keeper_needs_no_thread_of_the_application(app: App) -> None:
    """The default executor of the loop may be full of work that waits for this very worker."""
    release = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1))
    blocked = loop.run_in_executor(None, release.wait)
    try:
        async with asyncio.timeout(10), keeping(app) as keeper:
            assert keeper.renew()
    finally:
        release.set()
        await blocked


async def test_a_keeper_that_cannot_connect_says_so(app: App) -> None:
    database = Database("host=127.0.0.1 port=1 user=nobody connect_timeout=2")

    with pytest.raises(DatabaseConnectionError):
        async with keeping(app, database=database):
            pass


def test_a_keeper_ends_with_its_event_loop(runledger_database: EphemeralDatabase) -> None:
    """Leases of a loop that was closed without a stop must end: nobody finishes their jobs."""
    keeper = LeaseKeeper(
        Database(runledger_database.url),
        worker_id=WORKER,
        lease_ttl=timedelta(seconds=0.3),
        held=set(),
        on_id_taken=refuse,
    )
    before = set(threading.enumerate())
    asyncio.run(keeper.start(IDENTITY))

    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


# A worker and its leases ---------------------------------------------------------------------------------------------


async def test_a_long_handler_keeps_its_lease(app: App) -> None:
    """WRK-018. The lease is renewed twice while the handler runs."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=0.6)) as worker:
        await worker.run_once()
        await gate.until_running(1)
        await app.observer.until("(SELECT last_heartbeat_at > started_at + interval '0.35 s' FROM runledger.job_queue)")
        gate.open()
        await worker.finish_running()

    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED


async def test_a_handler_that_blocks_the_event_loop_keeps_its_lease(app: App) -> None:
    """WRK-018. Renewal has a thread of its own."""

    async def block(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        with psycopg.connect(app.url) as connection:  # blocking on purpose
            connection.execute("SELECT pg_sleep(0.9)")

    app.registry.job(TYPE)(block)
    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=0.6)) as worker:
        await worker.run_once()
        await worker.finish_running()

    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED
    assert len(await app.attempts(job_id)) == 1


async def test_a_handler_whose_lease_was_lost_is_canceled_and_nothing_is_written(app: App, log: LogWatch) -> None:
    """WRK-019."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=0.6)) as worker:
        await worker.run_once()
        await gate.until_running(1)
        await app.observer.execute(
            "UPDATE runledger.job_queue SET worker_id = 'other', lease_expires_at = now() + interval '1 h'"
        )
        await gate.until_running(0)
        await worker.finish_running()

    job = await app.job(job_id)
    assert (job.status, job.worker_id) == (JobStatus.LEASED, "other")
    assert await app.events(job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED]
    assert log.codes("worker.outcome_not_written") == ["job.lease_owner_mismatch"]


async def test_a_handler_is_canceled_before_a_lease_that_cannot_be_renewed_ends(app: App, log: LogWatch) -> None:
    """The server hangs: here over a table that somebody has locked."""
    gate = Gate()
    ended_at: list[datetime] = []

    @app.registry.job(TYPE)
    async def handle(context: JobContext, payload: object) -> None:
        try:
            await gate.handle(context, payload)
        finally:
            ended_at.append(await app.observer.value("SELECT clock_timestamp()"))

    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=1)) as worker:
        await worker.run_once()
        await gate.until_running(1)
        expires_at = await lease_end(app, job_id)
        async with app.observer.locked("job_queue"):
            await log.wait_for("lease_keeper.renewal_failed")
            await worker.finish_running()

    assert ended_at[0] < expires_at
    assert log.codes("worker.outcome_not_written") == ["job.lease_maintenance_failed"]
    assert await app.events(job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED]


async def test_a_renewal_that_fails_for_a_while_costs_nothing(app: App, log: LogWatch) -> None:
    """It is tried again for as long as the leases live."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=3)) as worker:
        await worker.run_once()
        await gate.until_running(1)
        async with app.observer.locked("job_queue"):
            await log.wait_for("lease_keeper.renewal_failed")
        await log.wait_for("lease_keeper.renewal_recovered")
        gate.open()
        await worker.finish_running()

    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED
    assert log.codes("lease_keeper.renewal_failed") == ["db.query_failed"]


@pytest.mark.slow
async def test_a_silent_network_costs_the_lease_but_not_the_end_of_the_worker(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing passes and nobody is told: the handler ends before its lease, and the worker within seconds."""
    monkeypatch.setattr("runledger.runtime.claim_loop._GRACE_SECONDS", 0.05)
    monkeypatch.setattr("runledger.runtime.worker._DRAIN_SECONDS", 0.05)
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with wire_to(app.url) as wire:
        config = quiet_config(lease_ttl=timedelta(seconds=1), worker_id=WORKER)
        worker = Worker(Database(wire.url), app.registry, config)
        await worker.start()
        await gate.until_running(1)
        wire.freeze()
        worker.wake()
        await gate.until_running(0)
        await asyncio.wait_for(worker.stop(), 30)  # psycopg tries for ten seconds to cancel the claim

    assert log.codes("worker.outcome_not_written") == ["job.lease_maintenance_failed"]
    assert (await app.job(job_id)).status is JobStatus.LEASED
