"""The reaper: expired leases go back to the queue, and its loop survives what happens to it."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from runledger.core import JobEventType, JobFailureKind, JobStatus
from runledger.postgres import Database, DatabaseConnectionError
from runledger.runtime import Reaper, run_reaper_loop
from runledger.runtime.registry import JobRegistry
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import echo
from tests.runtime.log_watch import LogWatch
from tests.wire import Loss, wire_to

TYPE = "email.send"


@pytest.fixture
def reaper(app: App) -> Reaper:
    app.registry.job(TYPE)(echo)
    return Reaper(app.database, app.registry, quiet_config(reaper_retry_delay=timedelta(seconds=30)))


async def test_an_expired_lease_is_returned_after_a_delay(app: App, reaper: Reaper) -> None:
    job_id = await app.enqueue(TYPE)
    await app.expire_claim()

    assert await reaper.run_once() == 1
    await reaper.stop()

    job = await app.job(job_id)
    assert (job.status, job.attempt, job.last_error_code) == (JobStatus.PENDING, 1, "job.lease_expired")
    (attempt,) = await app.attempts(job_id)
    assert (attempt.outcome, attempt.retry_delay_ms) == (JobFailureKind.LEASE_EXPIRED, 30_000)
    assert (await app.events(job_id))[-2:] == [JobEventType.FAILED, JobEventType.RETRY_SCHEDULED]


async def test_a_live_lease_is_left_alone_until_its_time(app: App, reaper: Reaper) -> None:
    (job_id,) = await app.enqueue_many(TYPE, 1)
    await app.expire_claim()
    await app.observer.execute("UPDATE runledger.job_queue SET lease_expires_at = now() + interval '1 h'")
    expires_at = (await app.job(job_id)).lease_expires_at
    assert expires_at is not None

    assert await reaper.run_once() == 0
    assert await reaper.run_once(now=expires_at) == 0
    assert await reaper.run_once(now=expires_at + timedelta(microseconds=1)) == 1
    await reaper.stop()


async def test_a_pass_goes_on_while_batches_are_full(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue_many(TYPE, 25)
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config(reaper_batch_size=10))

    assert await reaper.run_once() == 25
    await reaper.stop()

    assert await app.count("PENDING") == 25


async def test_ten_thousand_expired_leases_take_seconds(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue_many(TYPE, 10_000)
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config())

    began_at = time.monotonic()
    assert await reaper.run_once() == 10_000
    elapsed = time.monotonic() - began_at
    await reaper.stop()

    assert await app.count("PENDING") == 10_000
    assert elapsed < 5, f"it took {elapsed:.2f} s"


async def test_a_locked_row_is_left_for_the_next_pass_and_hides_no_other(app: App) -> None:
    app.registry.job(TYPE)(echo)
    locked, free = await app.enqueue_many(TYPE, 2)
    await app.expire_claim()
    reaper = Reaper(app.database, app.registry, quiet_config(reaper_batch_size=1))

    async with app.observer.locked_job(locked), asyncio.timeout(5):
        assert await reaper.run_once() == 1
        assert (await app.job(free)).status is JobStatus.PENDING
    assert await reaper.run_once() == 1
    await reaper.stop()


async def test_a_full_batch_that_cannot_be_moved_does_not_spin(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue_many(TYPE, 3)
    await app.expire_claim()
    await app.observer.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON runledger.job_queue FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    reaper = Reaper(app.database, app.registry, quiet_config(reaper_batch_size=3))

    async with asyncio.timeout(10):
        assert await reaper.run_once() == 0
    await reaper.stop()

    assert len(log.named("reaper.job_stuck")) == 3


async def test_what_was_taken_away_and_from_whom_is_named_to_a_bound(app: App, reaper: Reaper, log: LogWatch) -> None:
    ids = await app.enqueue_many(TYPE, 12)
    await app.expire_claim()
    await app.observer.execute("UPDATE runledger.job_queue SET worker_id = 'another' WHERE payload = '0'")

    assert await reaper.run_once() == 12
    assert await reaper.run_once() == 0
    await reaper.stop()

    (record,) = log.named("reaper.leases_expired")
    fields = vars(record)
    assert (fields["job_count"], fields["worker_count"]) == (12, 2)
    assert set(fields["worker_ids"]) == {"dead worker", "another"}
    assert len(fields["job_ids"]) == 10
    assert set(fields["job_ids"]) < {str(job_id) for job_id in ids}


async def test_what_a_pass_took_away_before_it_failed_is_named(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    first, second = await app.enqueue_many(TYPE, 2)
    await app.expire_claim()
    await app.observer.execute(
        "UPDATE runledger.job_queue SET lease_expires_at = lease_expires_at - interval '1 s' WHERE payload = '0'"
    )
    async with wire_to(app.url) as wire:
        wire.break_at(str(second).encode(), Loss.REQUEST)
        reaper = Reaper(Database(wire.url), app.registry, quiet_config(reaper_batch_size=1))
        with pytest.raises(DatabaseConnectionError):
            await reaper.run_once()
        await reaper.stop()

    assert vars(log.named("reaper.leases_expired")[0])["job_ids"] == [str(first)]


async def test_two_reapers_share_the_work(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue_many(TYPE, 200)
    await app.expire_claim()
    reapers = [Reaper(app.database, app.registry, quiet_config(reaper_batch_size=7)) for _ in range(2)]

    counts = await asyncio.gather(*(reaper.run_once() for reaper in reapers))
    counts.append(await reapers[0].run_once())  # what each left because the other had it locked
    for reaper in reapers:
        await reaper.stop()

    assert sum(counts) == 200
    assert await app.observer.value("SELECT count(*) FROM runledger.job_events WHERE event_type = 'FAILED'") == 200


async def test_a_row_that_cannot_be_reaped_is_reported_and_holds_up_no_other(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    ids = await app.enqueue_many(TYPE, 20)
    await app.expire_claim()
    await app.observer.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON runledger.job_queue FOR EACH ROW"
        " WHEN (NEW.status = 'PENDING' AND NEW.payload = '7') EXECUTE FUNCTION refuse()"
    )
    reaper = Reaper(app.database, app.registry, quiet_config(reaper_retry_delay=timedelta(minutes=1)))

    async with asyncio.timeout(10):
        assert await reaper.run_once() == 19
    await reaper.stop()

    (record,) = log.named("reaper.job_deferred")
    assert vars(record)["job_id"] == str(ids[7])
    assert (await app.job(ids[7])).status is JobStatus.LEASED


async def test_a_pass_that_takes_nothing_away_ends(app: App, log: LogWatch) -> None:
    """Without a delay a lease that was put off has expired again at once."""
    app.registry.job(TYPE)(echo)
    await app.enqueue_many(TYPE, 3)
    await app.expire_claim()
    await app.observer.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON runledger.job_queue FOR EACH ROW"
        " WHEN (NEW.status = 'PENDING') EXECUTE FUNCTION refuse()"
    )
    config = quiet_config(reaper_retry_delay=timedelta(), reaper_batch_size=3)
    reaper = Reaper(app.database, app.registry, config)

    async with asyncio.timeout(10):
        assert await reaper.run_once() == 0
    await reaper.stop()

    assert len(log.named("reaper.job_deferred")) == 3


async def test_the_loop_reaps_when_it_is_woken(app: App, reaper: Reaper, log: LogWatch) -> None:
    await reaper.start()
    try:
        await app.enqueue(TYPE)
        await app.expire_claim()
        reaper.wake()
        await log.wait_for("reaper.leases_expired")
    finally:
        await reaper.stop()

    assert await app.count("PENDING") == 1


async def test_the_loop_survives_a_lost_connection(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    config = quiet_config(reaper_interval=timedelta(milliseconds=20))
    async with wire_to(app.url) as wire:
        reaper = Reaper(Database(wire.url), app.registry, config)
        await reaper.start()
        try:
            wire.cut()
            await log.wait_for("reaper.pass_failed")
            await app.enqueue(TYPE)
            await app.expire_claim()
            await log.wait_for("reaper.leases_expired")
        finally:
            await reaper.stop()

    assert log.codes("reaper.pass_failed") == ["db.connection_failed"]
    assert len(log.named("reaper.pass_recovered")) == 1


async def test_a_pass_that_cannot_end_does_not_hold_up_the_stop(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runledger.runtime.reaper._PASS_GRACE_SECONDS", 0.05)
    reaper = Reaper(app.database, app.registry, quiet_config())
    async with app.observer.locked("job_queue"):
        await reaper.start()
        await app.observer.until_blocked()
        await asyncio.wait_for(reaper.stop(), 10)


async def test_a_stop_while_it_starts_leaves_no_connection(app: App, reaper: Reaper) -> None:
    await asyncio.gather(reaper.start(), reaper.stop())

    assert not reaper.is_live
    await app.observer.until_sessions(at_most=0)


async def test_the_loop_for_hosts_runs_until_its_event_is_set(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    await app.expire_claim()
    shutdown = asyncio.Event()

    loop = asyncio.create_task(run_reaper_loop(app.database, app.registry, quiet_config(), shutdown))
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'PENDING')")
    shutdown.set()
    await asyncio.wait_for(loop, 10)


async def test_a_reaper_that_cannot_connect_says_so() -> None:
    database = Database("host=127.0.0.1 port=1 user=nobody connect_timeout=2")

    with pytest.raises(DatabaseConnectionError):
        await run_reaper_loop(database, JobRegistry(), quiet_config(), asyncio.Event())
