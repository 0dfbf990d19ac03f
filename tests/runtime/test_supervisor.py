"""The supervisor: what a process starts, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Generator
from datetime import timedelta

import pytest
from psycopg.conninfo import make_conninfo

from runledger.core import JobDefinition, JobStatus
from runledger.postgres import Database, DatabaseConnectionError, MissingMigrationHistoryError, jobs
from runledger.runtime import JobRegistry, Supervisor
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate, echo
from tests.runtime.log_watch import LogWatch
from tests.worker_process import worker_process

TYPE = "email.send"


@pytest.fixture
def no_new_threads() -> Generator[None]:
    """Nothing that Runledger started runs after the test."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("runledger-"):
            thread.join(5)  # one that was idle is just ending
            assert not thread.is_alive(), thread.name


async def until_nobody_is_connected(app: App) -> None:
    await app.observer.until_sessions(at_most=0)


@pytest.mark.usefixtures("no_new_threads")
async def test_a_supervisor_runs_jobs_until_it_is_told_to_stop_and_leaves_nothing(app: App, log: LogWatch) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    app.registry.job("plain")(echo)
    await app.enqueue("plain")
    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    running = asyncio.create_task(supervisor.run_until_shutdown())
    await gate.until_running(1)

    supervisor.request_shutdown()
    await log.wait_for("supervisor.stopping")
    assert not running.done()
    gate.open()
    await asyncio.wait_for(running, 10)

    assert await app.count("SUCCEEDED") == 2
    await until_nobody_is_connected(app)


@pytest.mark.usefixtures("no_new_threads")
async def test_a_second_request_cancels_what_runs(app: App, log: LogWatch) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config(shutdown_timeout=timedelta(hours=1)))
    running = asyncio.create_task(supervisor.run_until_shutdown())
    await gate.until_running(1)

    supervisor.request_shutdown()
    await log.wait_for("supervisor.stopping")
    supervisor.request_shutdown()
    await asyncio.wait_for(running, 10)

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.worker_shutdown")


@pytest.mark.usefixtures("no_new_threads")
async def test_handlers_get_no_longer_than_the_given_time(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config(shutdown_timeout=timedelta(hours=1)))
    running = asyncio.create_task(supervisor.run_until_shutdown(shutdown_timeout=timedelta()))
    await gate.until_running(1)

    supervisor.request_shutdown()
    await asyncio.wait_for(running, 10)

    assert (await app.job(job_id)).last_error_code == "job.worker_shutdown"


@pytest.mark.usefixtures("no_new_threads")
async def test_a_canceled_supervisor_stops_as_well(app: App) -> None:
    """The host cancels the task in which it runs."""
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    running = asyncio.create_task(Supervisor(app.database, app.registry, quiet_config()).run_until_shutdown())
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)

    await until_nobody_is_connected(app)


async def test_missing_definitions_are_inserted_and_others_kept(app: App) -> None:
    app.registry.job("new", max_attempts=3)(echo)
    app.registry.job("known", max_attempts=3)(echo)
    known = JobDefinition(job_type="known", max_attempts=5, is_enabled=False)
    await app.ledger.ensure_job_definitions([known])
    supervisor = Supervisor(app.database, app.registry, quiet_config())

    await supervisor.start()
    await supervisor.stop()

    async with app.database.own_connection() as connection:
        definitions = await connection.run(jobs.list_job_definitions())
    assert definitions == [known, JobDefinition(job_type="new", max_attempts=3)]


async def test_a_reaper_runs_beside_the_worker(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    await app.expire_claim()
    config = quiet_config(poll_interval=timedelta(milliseconds=20))
    supervisor = Supervisor(app.database, app.registry, config)

    await supervisor.start()
    try:
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    finally:
        await supervisor.stop()


async def test_a_url_is_enough(app: App) -> None:
    supervisor = Supervisor(app.url, app.registry)

    await supervisor.start()
    await supervisor.stop()


@pytest.mark.usefixtures("no_new_threads")
async def test_a_database_without_schema_is_refused_at_the_start(app: App) -> None:
    app.registry.job(TYPE)(echo)
    database = Database(app.url, schema="elsewhere")

    with pytest.raises(MissingMigrationHistoryError, match=r'schema "elsewhere" at host .*`runledger migrate`'):
        await Supervisor(database, app.registry, quiet_config()).start()

    await until_nobody_is_connected(app)


@pytest.mark.usefixtures("no_new_threads")
async def test_an_unreachable_database_is_an_error_at_the_start() -> None:
    database = Database("host=127.0.0.1 port=1 user=nobody connect_timeout=2")

    with pytest.raises(DatabaseConnectionError):
        await Supervisor(database, JobRegistry(), quiet_config()).run_until_shutdown()


@pytest.mark.usefixtures("no_new_threads")
async def test_a_reaper_that_cannot_start_takes_the_worker_with_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the host would have a running worker and an exception."""

    async def fail(_: object) -> None:
        raise DatabaseConnectionError("too many connections")

    monkeypatch.setattr("runledger.runtime.reaper.Reaper.start", fail)

    with pytest.raises(DatabaseConnectionError):
        await Supervisor(app.database, app.registry, quiet_config()).start()

    await until_nobody_is_connected(app)


async def test_a_supervisor_that_never_started_may_be_stopped(app: App) -> None:
    await Supervisor(app.database, app.registry, quiet_config()).stop()


async def test_outside_the_main_thread_signals_are_left_to_the_host(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    supervisor = Supervisor(app.url, app.registry, quiet_config())
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await supervisor.run_until_shutdown()

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, run()))
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    loops[0].call_soon_threadsafe(supervisor.request_shutdown)

    await asyncio.wait_for(thread, 10)


async def test_its_sessions_can_be_told_from_others(app: App) -> None:
    """By the application name, which an application may choose."""
    url = make_conninfo(app.url, application_name="mail worker")
    supervisor = Supervisor(url, app.registry, quiet_config())
    await supervisor.start()
    try:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mail worker'"
        assert await app.observer.value(sessions) >= 3
    finally:
        await supervisor.stop()


# Processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_handlers_end(app: App, number: signal.Signals) -> None:
    app.registry.job("hold")(echo)
    job_id = await app.enqueue("hold", "payload")
    await app.observer.execute("SELECT pg_advisory_lock(1)")
    async with worker_process(url=app.url) as process:
        await app.observer.until_blocked()
        process.signal(number)
        await process.until_said("supervisor.stopping")
        assert process.is_running
        await app.observer.execute("SELECT pg_advisory_unlock(1)")

        assert await process.until_ended() == 0

    job = await app.job(job_id)
    assert (job.status, job.output) == (JobStatus.SUCCEEDED, "payload")
    assert "supervisor.stopped" in process.lines


async def test_a_second_signal_cancels_handlers(app: App) -> None:
    app.registry.job("hold")(echo)
    job_id = await app.enqueue("hold")
    await app.observer.execute("SELECT pg_advisory_lock(1)")
    async with worker_process(url=app.url) as process:
        await app.observer.until_blocked()
        process.signal(signal.SIGTERM)
        await process.until_said("supervisor.stopping")
        process.signal(signal.SIGTERM)

        assert await process.until_ended() == 0

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.worker_shutdown")


@pytest.mark.slow
async def test_a_thread_that_never_returns_does_not_keep_the_process(app: App) -> None:
    """Its job is left to the end of the lease."""
    app.registry.job("hang")(echo)
    job_id = await app.enqueue("hang")
    async with worker_process(url=app.url) as process:
        await process.until_said("hanging")
        process.signal(signal.SIGTERM)
        await process.until_said("supervisor.stopping")
        process.signal(signal.SIGTERM)

        assert await process.until_ended() == 0

    assert (await app.job(job_id)).status is JobStatus.LEASED
