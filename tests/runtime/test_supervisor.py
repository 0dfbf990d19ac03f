"""The supervisor: what a process starts, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Generator
from datetime import timedelta
from typing import Any, cast

import pytest
from psycopg.conninfo import make_conninfo

from runledger.core import ConfigError, InvalidArgumentError, JobContext, JobDefinition, JobFailure, JobStatus
from runledger.postgres import Database, DatabaseConnectionError, MissingMigrationHistoryError, jobs
from runledger.runtime import JobRegistry, Supervisor, WorkerSettlement
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


async def test_a_stop_while_it_starts_leaves_nothing(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    async with app.observer.locked("job_workers"):
        start = asyncio.create_task(supervisor.start())
        await app.observer.until_blocked()
        stop = asyncio.create_task(supervisor.stop())
        await asyncio.wait([start, stop], timeout=0.1)

    await asyncio.wait_for(asyncio.gather(start, stop), 20)

    assert not supervisor.is_live
    assert log.named("supervisor.started") == []
    await until_nobody_is_connected(app)


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


# What it reports --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_new_threads")
async def test_a_report_counts_what_finished_what_was_returned_and_what_was_abandoned(app: App, log: LogWatch) -> None:
    returns, ignores = Gate(), Gate()
    release = threading.Event()
    app.registry.job("returns")(returns.handle)
    app.registry.job("hangs")(ignores.handle)

    @app.registry.job("thread")
    def hold(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        release.wait(20)

    for job_type in ("returns", "hangs", "thread"):
        await app.enqueue(job_type)
    supervisor = Supervisor(app.database, app.registry, quiet_config(worker_id="one"))
    running = asyncio.create_task(supervisor.run_until_shutdown())
    await returns.until_running(1)
    await ignores.until_running(1)
    await app.observer.until("(SELECT count(*) = 3 FROM runledger.job_queue WHERE status = 'LEASED')")

    supervisor.request_shutdown()
    stopping = await log.wait_for("supervisor.stopping")
    returns.open()
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    supervisor.request_shutdown()
    try:
        report = await asyncio.wait_for(running, 20)
    finally:
        release.set()

    assert report.workers == (WorkerSettlement(worker_id="one", finished=1, returned=1, abandoned=1),)
    assert (report.finished, report.returned, report.abandoned, report.errors) == (1, 1, 1, ())
    assert not report.is_clean
    assert vars(stopping)["job_count"] == 3
    assert vars(log.named("supervisor.stopping_now")[0])["job_count"] == 2
    stopped = vars(log.named("supervisor.stopped")[0])
    assert (stopped["finished"], stopped["returned"], stopped["abandoned"], stopped["error_count"]) == (1, 1, 1, 0)


async def test_what_ended_before_the_stop_is_not_in_the_report(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    await supervisor.start()
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")

    report = await supervisor.stop()

    assert report.is_clean
    assert report.abandoned == 0


@pytest.mark.usefixtures("no_new_threads")
async def test_there_is_one_stop_and_everybody_who_asks_gets_its_report(app: App, log: LogWatch) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    running = asyncio.create_task(supervisor.run_until_shutdown())
    await gate.until_running(1)

    impatient = asyncio.create_task(supervisor.stop())
    await log.wait_for("supervisor.stopping")
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    gate.open()
    first, second = await asyncio.gather(supervisor.stop(), asyncio.wait_for(running, 20))

    assert first.finished == 1
    assert first == second == await supervisor.stop()
    assert len(log.named("supervisor.stopping")) == len(log.named("supervisor.stopped")) == 1


@pytest.mark.usefixtures("no_new_threads")
async def test_a_part_that_ends_by_itself_ends_the_others_and_stands_in_the_report(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue(TYPE)

    class DefectError(BaseException):
        """What no loop expects."""

    is_running = asyncio.Event()

    async def crash(_: object) -> int:
        await is_running.wait()
        raise DefectError

    monkeypatch.setattr("runledger.runtime.reaper.Reaper.run_once", crash)
    supervisor = Supervisor(app.database, app.registry, quiet_config(shutdown_timeout=timedelta()))
    running = asyncio.create_task(supervisor.run_until_shutdown())
    await gate.until_running(1)
    is_running.set()
    report = await asyncio.wait_for(running, 20)

    assert [type(error) for error in report.errors] == [DefectError]
    assert report.returned == 1
    assert vars(log.named("supervisor.part_failed")[0])["part"] == "reaper"


# Parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_new_threads")
async def test_it_is_live_while_one_worker_waits_for_its_handlers_and_another_has_ended(app: App) -> None:
    """A probe that failed here would have the process killed in the middle of its shutdown."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config(worker_id="busy"))
    supervisor.add_worker(JobRegistry(), quiet_config(worker_id="idle"))
    await supervisor.start()
    await gate.until_running(1)

    stopping = asyncio.create_task(supervisor.stop())
    await app.observer.until("NOT EXISTS (SELECT FROM runledger.job_workers WHERE worker_id = 'idle')")
    is_live = supervisor.is_live
    gate.open()
    await asyncio.wait_for(stopping, 20)

    assert is_live
    assert not supervisor.is_live


@pytest.mark.usefixtures("no_new_threads")
async def test_a_worker_whose_stop_is_canceled_leaves_no_thread_and_no_session(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue(TYPE)
    worker = app.new_worker()
    await worker.open()
    await worker.run_once()
    await gate.until_running(1)

    stopping = asyncio.create_task(worker.stop())
    await app.observer.until("EXISTS (SELECT FROM runledger.job_queue WHERE status = 'LEASED')")
    stopping.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    await until_nobody_is_connected(app)


async def test_several_workers_have_types_and_slots_of_their_own(app: App) -> None:
    slow, fast = Gate(), Gate()
    app.registry.job("slow")(slow.handle)
    other = JobRegistry()
    other.job("fast")(fast.handle)
    await app.enqueue_many("slow", 3)
    await app.ledger.ensure_job_definitions(other.definitions())
    for _ in range(3):
        await app.ledger.enqueue("fast")
    supervisor = Supervisor(app.database, app.registry, quiet_config(worker_id="slow", max_global_concurrency=1))
    supervisor.add_worker(other, quiet_config(worker_id="fast", max_global_concurrency=2))

    await supervisor.start()
    await slow.until_running(1)
    await fast.until_running(2)
    assert await app.observer.column("SELECT worker_id FROM runledger.job_workers ORDER BY 1") == ["fast", "slow"]
    report = await supervisor.stop(handler_timeout=timedelta())

    assert [(worker.worker_id, worker.returned) for worker in report.workers] == [("slow", 1), ("fast", 2)]
    assert report.returned == 3


async def test_hooks_of_every_registry_are_called_by_the_reaper(app: App, log: LogWatch) -> None:
    called = asyncio.Event()

    class Handler:
        job_type = "other"

        async def execute(self, context: JobContext, payload: object) -> None: ...

        async def on_dead_letter(self, context: JobContext, payload: object, info: object) -> None:
            assert (context.job_type, payload) == ("other", None)
            assert info
            called.set()

    other = JobRegistry()
    other.register(cast("Any", Handler()), max_attempts=1)
    await app.ledger.ensure_job_definitions(other.definitions())
    await app.ledger.enqueue("other")
    await app.expire_claim()
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    supervisor.add_worker(other, quiet_config())

    await supervisor.start()
    await asyncio.wait_for(called.wait(), 20)
    await supervisor.stop()

    assert log.named("worker.dead_letter_hook_failed") == []


async def test_two_workers_of_one_supervisor_need_two_ids(app: App) -> None:
    supervisor = Supervisor(app.database, app.registry, quiet_config(worker_id="one"))

    with pytest.raises(ConfigError) as caught:
        supervisor.add_worker(JobRegistry(), quiet_config(worker_id="one"))

    assert caught.value.code == "config.worker_id_taken"


async def test_a_worker_is_added_before_the_start(app: App) -> None:
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    await supervisor.start()
    with pytest.raises(InvalidArgumentError, match="before the start"):
        supervisor.add_worker(JobRegistry(), quiet_config())
    with pytest.raises(InvalidArgumentError, match="started before"):
        await supervisor.start()
    await supervisor.stop()


@pytest.mark.usefixtures("no_new_threads")
async def test_a_worker_that_cannot_start_takes_those_before_it_with_it(app: App) -> None:
    async with app.worker(worker_id="two"):
        supervisor = Supervisor(app.database, app.registry, quiet_config(worker_id="one"))
        supervisor.add_worker(JobRegistry(), quiet_config(worker_id="two"))
        with pytest.raises(ConfigError):
            await supervisor.run_until_shutdown()
        assert await app.observer.column("SELECT worker_id FROM runledger.job_workers") == ["two"]

    await app.observer.until_sessions(at_most=0)


async def test_a_worker_without_a_reaper_leaves_expired_leases_alone(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    await app.expire_claim()
    await app.enqueue(TYPE)
    config = quiet_config(poll_interval=timedelta(milliseconds=5))
    supervisor = Supervisor(app.database, app.registry, config, runs_reaper=False)

    await supervisor.start()
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    await supervisor.stop()

    assert await app.count("LEASED") == 1


async def test_a_reaper_without_a_worker_claims_nothing(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    await app.expire_claim()
    supervisor = Supervisor(app.database, app.registry, quiet_config(), runs_worker=False)

    await supervisor.start()
    assert supervisor.is_live
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'PENDING')")
    report = await supervisor.stop()

    assert await app.count("PENDING") == 1
    assert report.workers == ()
    assert await app.observer.value("SELECT count(*) FROM runledger.job_workers") == 0


async def test_a_supervisor_without_parts_is_refused(app: App) -> None:
    supervisor = Supervisor(
        app.database, app.registry, quiet_config(), runs_worker=False, runs_scheduler=False, runs_reaper=False
    )

    with pytest.raises(InvalidArgumentError, match="has no part"):
        await supervisor.start()


# Probes -----------------------------------------------------------------------------------------------------------


async def test_it_is_live_and_ready_while_it_claims_and_live_until_it_has_stopped(app: App, log: LogWatch) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    assert (supervisor.is_live, supervisor.is_ready) == (False, False)

    running = asyncio.create_task(supervisor.run_until_shutdown())
    await log.wait_for("supervisor.started")
    await gate.until_running(1)
    assert (supervisor.is_live, supervisor.is_ready) == (True, True)

    supervisor.request_shutdown()
    await log.wait_for("supervisor.stopping")
    assert (supervisor.is_live, supervisor.is_ready) == (True, False)
    gate.open()
    await asyncio.wait_for(running, 20)
    assert (supervisor.is_live, supervisor.is_ready) == (False, False)


async def test_it_is_not_ready_while_claims_fail(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    config = quiet_config(poll_interval=timedelta(milliseconds=5))
    supervisor = Supervisor(app.database, app.registry, config)
    await supervisor.start()
    try:
        await app.enqueue(TYPE, run_in=timedelta(hours=1))
        await app.observer.execute("ALTER TABLE runledger.job_events RENAME TO hidden")
        await app.observer.execute("UPDATE runledger.job_queue SET next_run_at = now()")
        await log.wait_for("worker.claim_failed")
        assert (supervisor.is_live, supervisor.is_ready) == (True, False)
        await app.observer.execute("ALTER TABLE runledger.hidden RENAME TO job_events")
        await log.wait_for("worker.claim_recovered")
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
        assert supervisor.is_ready
    finally:
        await supervisor.stop()


async def test_it_is_not_ready_while_every_slot_is_abandoned(app: App, log: LogWatch) -> None:
    release = threading.Event()

    @app.registry.job(TYPE, timeout=timedelta(seconds=1))
    def hang(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        release.wait(20)

    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config(max_global_concurrency=1))
    await supervisor.start()
    try:
        await log.wait_for("worker.thread_abandoned")
        assert (supervisor.is_live, supervisor.is_ready) == (True, False)
        release.set()
        await log.wait_for("worker.thread_returned")
        assert supervisor.is_ready
    finally:
        release.set()
        await supervisor.stop()


async def test_it_is_not_live_while_a_handler_holds_the_event_loop_for_the_lease_time(app: App) -> None:
    """Asked in another thread, as a server for probes of its own does."""
    seen: list[bool] = []

    @app.registry.job(TYPE)
    async def hold(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        has_seen = threading.Event()

        def ask() -> None:
            while supervisor.is_live:
                pass
            seen.append(supervisor.is_live)
            has_seen.set()

        threading.Thread(target=ask).start()
        assert has_seen.wait(20)

    await app.enqueue(TYPE)
    supervisor = Supervisor(app.database, app.registry, quiet_config(lease_ttl=timedelta(seconds=1)))
    await supervisor.start()
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    await supervisor.stop()

    assert seen == [False]


# The log ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_logged_above_debug_for_jobs_when_all_is_well(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)

    @app.registry.job("fails")
    async def fail(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        raise JobFailure.retryable("smtp.busy", "a failure that the handler foresaw is the ledger's to tell")

    await app.enqueue_many(TYPE, 50)
    await app.enqueue("fails")
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    await supervisor.start()
    await app.observer.until("(SELECT count(*) = 50 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE last_error_code = 'smtp.busy')")
    await supervisor.stop()

    above_debug = [record.msg for record in log.records if record.levelno > logging.DEBUG]
    assert above_debug == ["supervisor.started", "supervisor.stopping", "supervisor.stopped"]


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
        await process.until_said("supervisor.stopping_now")

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


async def test_a_signal_stops_every_supervisor_of_the_loop(app: App, log: LogWatch) -> None:
    """An event loop has one handler for each signal, which the second one must not take away from the first."""
    assert threading.current_thread() is threading.main_thread(), "or the signal ends the tests"
    app.registry.job(TYPE)(echo)
    first, second, third = (
        Supervisor(app.database, app.registry, quiet_config(worker_id=worker_id)) for worker_id in ("1", "2", "3")
    )
    tasks = [asyncio.create_task(one.run_until_shutdown()) for one in (first, second, third)]
    await log.wait_for("supervisor.started", count=3)
    second.request_shutdown()
    await asyncio.wait_for(tasks[1], 20)
    assert (first.is_live, second.is_live, third.is_live) == (True, False, True)

    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*tasks), 20)

    assert len(log.named("supervisor.stopped")) == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
