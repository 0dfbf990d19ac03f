"""The scheduler: what a pass does, and when the next one is."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runledger.postgres import Database, DatabaseConnectionError
from runledger.runtime import Scheduler, Supervisor, run_scheduler_loop
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import echo
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "report.build"
YEARLY, EVERY_SECOND = "0 0 1 1 *", "* * * * * *"
HOUR = timedelta(hours=1)
ONE_JOB = "(SELECT count(*) >= 1 FROM runledger.job_queue)"


@pytest.fixture
async def scheduler(app: App) -> Scheduler:
    await define(app)
    return Scheduler(app.database, quiet_config(schedule_poll_interval=HOUR))


async def define(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.ledger.ensure_job_definitions(app.registry.definitions())


async def make_due(app: App, *names: str) -> None:
    """Make schedules that are due, once."""
    due_at = await app.observer.value("SELECT now() - interval '1 s'")
    for name in names:
        await app.ledger.upsert_schedule(name, TYPE, YEARLY)
        await app.ledger.set_schedule_next_fire(name, due_at)


async def job_count(app: App) -> int:
    return await app.observer.value("SELECT count(*) FROM runledger.job_queue")


async def test_a_pass_fires_what_is_due_and_says_how_many_jobs_that_made(app: App, scheduler: Scheduler) -> None:
    await make_due(app, "one", "two")

    assert await scheduler.run_once() == 2
    assert await scheduler.run_once() == 0
    await scheduler.stop()

    assert await app.count("PENDING") == 2


async def test_a_pass_at_a_given_instant(app: App, scheduler: Scheduler) -> None:
    schedule = await app.ledger.upsert_schedule("one", TYPE, YEARLY)

    assert await scheduler.run_once(now=schedule.next_fire_at - timedelta(microseconds=1)) == 0
    assert await scheduler.run_once(now=schedule.next_fire_at) == 1
    await scheduler.stop()


async def test_a_pass_goes_on_while_batches_are_full(app: App) -> None:
    await define(app)
    await make_due(app, *(f"s{number}" for number in range(25)))
    scheduler = Scheduler(app.database, quiet_config(scheduler_batch_size=10))

    assert await scheduler.run_once() == 25
    await scheduler.stop()


async def test_two_schedulers_share_the_work(app: App) -> None:
    """SCH-013."""
    await define(app)
    await make_due(app, *(f"s{number}" for number in range(100)))
    pair = [Scheduler(app.database, quiet_config(scheduler_batch_size=7)) for _ in range(2)]

    counts = await asyncio.gather(*(scheduler.run_once() for scheduler in pair))
    counts.append(await pair[0].run_once())  # what each left because the other had it locked
    for scheduler in pair:
        await scheduler.stop()

    assert sum(counts) == 100
    assert await job_count(app) == 100


async def test_the_loop_sleeps_until_the_next_schedule_is_due(app: App, scheduler: Scheduler) -> None:
    """Not until its next poll, which is in an hour."""
    await app.ledger.upsert_schedule("often", TYPE, EVERY_SECOND)

    await scheduler.start()
    await app.observer.until("(SELECT count(*) >= 2 FROM runledger.job_queue)")
    await scheduler.stop()

    late = await app.observer.value("""
        SELECT max(created_at - (payload -> '_schedule' ->> 'scheduled_for')::timestamptz) FROM runledger.job_queue""")
    assert timedelta() <= late < timedelta(seconds=1)


async def test_the_loop_looks_when_it_is_woken(app: App, scheduler: Scheduler) -> None:
    await scheduler.start()
    try:
        await make_due(app, "one")
        scheduler.wake()
        await app.observer.until(ONE_JOB)
    finally:
        await scheduler.stop()


async def test_the_loop_polls_for_schedules_that_were_changed(app: App) -> None:
    await define(app)
    scheduler = Scheduler(app.database, quiet_config(schedule_poll_interval=timedelta(milliseconds=20)))
    await scheduler.start()
    try:
        await make_due(app, "one")
        await app.observer.until(ONE_JOB)
    finally:
        await scheduler.stop()


async def test_the_loop_comes_back_soon_to_what_somebody_has_locked(app: App, scheduler: Scheduler) -> None:
    await make_due(app, "one")
    async with app.observer.locked_schedules():
        await scheduler.start()
        await make_due(app, "two")
        scheduler.wake()
        await app.observer.until(ONE_JOB)
    await app.observer.until("(SELECT count(*) = 2 FROM runledger.job_queue)")
    await scheduler.stop()


async def test_workers_hear_of_the_jobs(app: App, scheduler: Scheduler) -> None:
    """The worker polls every hour, so it was told."""
    await make_due(app, "one")
    worker = app.new_worker()
    await worker.start()
    try:
        assert await scheduler.run_once() == 1
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    finally:
        await worker.stop()
        await scheduler.stop()


async def test_a_schedule_that_cannot_fire_is_reported_once_and_when_it_fires_again(
    app: App, scheduler: Scheduler, log: LogWatch
) -> None:
    """SCH-006, SCH-007."""
    await make_due(app, "bad", "good")
    schedule = await app.ledger.get_schedule("bad")
    assert schedule is not None
    await app.observer.execute("UPDATE runledger.job_schedules SET cron_expr = 'never' WHERE name = 'bad'")

    assert await scheduler.run_once() == 1
    retry = schedule.next_fire_at + HOUR
    assert await scheduler.run_once(now=retry) == 0
    await app.observer.execute("UPDATE runledger.job_schedules SET cron_expr = '0 0 1 1 *' WHERE name = 'bad'")
    assert await scheduler.run_once(now=retry + HOUR) == 1
    await scheduler.stop()

    (deferred,) = log.named("scheduler.schedule_deferred")
    assert (vars(deferred)["schedule_name"], vars(deferred)["code"]) == ("bad", "job_schedule.invalid_cron")
    (recovered,) = log.named("scheduler.schedule_recovered")
    assert vars(recovered)["schedule_name"] == "bad"


async def test_due_times_that_do_not_fire_and_the_end_of_a_schedule_are_told(
    app: App, scheduler: Scheduler, log: LogWatch
) -> None:
    schedule = await app.ledger.upsert_schedule("often", TYPE, "* * * * *")
    ending = await app.ledger.upsert_schedule("ending", TYPE, "0 0 0 1 1 ? 2090")

    await scheduler.run_once(now=schedule.next_fire_at + HOUR)
    await scheduler.run_once(now=ending.next_fire_at)
    await scheduler.stop()

    assert vars(log.named("scheduler.due_times_left_out")[0])["reason"] == "catch_up"
    (ended,) = log.named("scheduler.schedule_ended")
    assert vars(ended)["schedule_name"] == "ending"


async def test_a_schedule_that_cannot_even_be_put_off_does_not_spin(
    app: App, scheduler: Scheduler, log: LogWatch
) -> None:
    await make_due(app, "one")
    await app.observer.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON runledger.job_schedules FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    async with asyncio.timeout(10):
        assert await scheduler.run_once() == 0
    await scheduler.stop()

    assert len(log.named("scheduler.schedule_stuck")) == 1
    assert await job_count(app) == 0


async def test_the_loop_survives_a_lost_connection(app: App, log: LogWatch) -> None:
    await define(app)
    config = quiet_config(schedule_poll_interval=timedelta(milliseconds=20))
    async with wire_to(app.url) as wire:
        scheduler = Scheduler(Database(wire.url), config)
        await scheduler.start()
        try:
            wire.cut()
            await log.wait_for("scheduler.pass_failed")
            await make_due(app, "one")
            await app.observer.until(ONE_JOB)
            await log.wait_for("scheduler.pass_recovered")
        finally:
            await scheduler.stop()

    assert log.codes("scheduler.pass_failed") == ["db.connection_failed"]
    assert await job_count(app) == 1


async def test_a_pass_that_cannot_end_does_not_hold_up_the_stop(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runledger.runtime.scheduler._PASS_GRACE_SECONDS", 0.05)
    scheduler = Scheduler(app.database, quiet_config())
    async with app.observer.locked("job_schedules"):
        await scheduler.start()
        await app.observer.until_blocked()
        await asyncio.wait_for(scheduler.stop(), 10)


async def test_a_stop_while_it_starts_leaves_no_connection(app: App, scheduler: Scheduler) -> None:
    await asyncio.gather(scheduler.start(), scheduler.stop())

    assert not scheduler.is_live
    await app.observer.until_sessions(at_most=0)


async def test_the_loop_for_hosts_runs_until_its_event_is_set(app: App) -> None:
    await define(app)
    await make_due(app, "one")
    shutdown = asyncio.Event()

    loop = asyncio.create_task(run_scheduler_loop(app.database, quiet_config(), shutdown))
    await app.observer.until(ONE_JOB)
    shutdown.set()
    await asyncio.wait_for(loop, 10)


async def test_a_scheduler_that_cannot_connect_says_so() -> None:
    database = Database("host=127.0.0.1 port=1 user=nobody connect_timeout=2")

    with pytest.raises(DatabaseConnectionError):
        await run_scheduler_loop(database, quiet_config(), asyncio.Event())


# In a supervisor --------------------------------------------------------------------------------------------------


async def test_a_supervisor_fires_schedules_and_runs_their_jobs(app: App) -> None:
    await define(app)
    await make_due(app, "one")
    supervisor = Supervisor(app.database, app.registry, quiet_config())

    await supervisor.start()
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    assert (supervisor.is_live, supervisor.is_ready) == (True, True)  # ready from the first claim on
    report = await supervisor.stop()

    assert report.is_clean
    output = await app.observer.value("SELECT output -> '_schedule' ->> 'schedule_name' FROM runledger.job_queue")
    assert output == "one"
    await app.observer.until_sessions(at_most=0)


async def test_without_a_scheduler_none_fires(app: App) -> None:
    await define(app)
    await make_due(app, "one")
    supervisor = Supervisor(app.database, app.registry, quiet_config(), runs_scheduler=False)

    await supervisor.start()
    await app.enqueue(TYPE)
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    await supervisor.stop()

    assert await job_count(app) == 1


async def test_a_scheduler_alone_makes_jobs_and_runs_none(app: App) -> None:
    await define(app)
    await make_due(app, "one")
    supervisor = Supervisor(app.database, app.registry, quiet_config(), runs_worker=False, runs_reaper=False)

    await supervisor.start()
    await app.observer.until(ONE_JOB)
    assert supervisor.is_live
    report = await supervisor.stop()

    assert report.is_clean
    assert await app.count("PENDING") == 1


async def test_a_supervisor_whose_scheduler_cannot_reach_the_database_is_live_but_not_ready(
    app: App, log: LogWatch
) -> None:
    async with wire_to(app.url) as wire:
        config = quiet_config(schedule_poll_interval=timedelta(milliseconds=20))
        supervisor = Supervisor(wire.url, app.registry, config, runs_worker=False, runs_reaper=False)
        await supervisor.start()
        wire.cut()
        wire.refuse()
        await log.wait_for("scheduler.pass_failed")

        assert (supervisor.is_live, supervisor.is_ready) == (True, False)
        await supervisor.stop()


async def test_a_scheduler_that_ends_by_itself_ends_the_others(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_scheduler: Scheduler) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Scheduler, "_schedule_until_stopped", crash)
    await define(app)

    report = await asyncio.wait_for(Supervisor(app.database, app.registry, quiet_config()).run_until_shutdown(), 20)

    assert [str(error) for error in report.errors] == ["a defect"]
    assert vars(log.named("supervisor.part_failed")[0])["part"] == "scheduler"
