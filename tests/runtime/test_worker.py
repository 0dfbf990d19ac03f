"""The worker: what it claims, what it leaves, and how it ends.

That a claim is the start (its statement writes stage and started marker) takes the place of WRK-001, WRK-002 and
WRK-017: there is no second write whose failure could leave a job claimed and not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg.sql import SQL, Literal

from runledger.core import (
    EnqueueRequest,
    JobClaimOrigin,
    JobContext,
    JobEventType,
    JobFailure,
    JobFailureKind,
    JobStatus,
)
from runledger.postgres import Database, DatabaseConnectionError, jobs, run
from runledger.postgres.drivers.psycopg import AsyncConnectionPool
from runledger.runtime import Worker, run_worker_loop
from runledger.runtime.registry import JobRegistry, RegisteredJob
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate, echo
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "email.send"


@contextlib.asynccontextmanager
async def started(worker: Worker) -> AsyncGenerator[Worker]:
    """A worker that claims by itself."""
    try:
        await worker.start()
        yield worker
    finally:
        await worker.stop(handler_timeout=timedelta())


# What one attempt leaves in the ledger ------------------------------------------------------------------------


async def test_a_job_succeeds_with_its_output(app: App) -> None:
    async def send(context: JobContext, payload: Any) -> Any:
        return {"sent": payload, "attempt": context.attempt}

    app.registry.job(TYPE)(send)

    job = await app.run(TYPE, ["a@example.org"])

    assert (job.status, job.stage, job.attempt) == (JobStatus.SUCCEEDED, "completed", 1)
    assert job.output == {"sent": ["a@example.org"], "attempt": 1}
    assert (job.worker_id, job.lease_expires_at) == (None, None)
    assert await app.events(job.id) == [JobEventType.ENQUEUED, JobEventType.LEASED, JobEventType.SUCCEEDED]


async def test_a_claim_is_the_start(app: App) -> None:
    """WRK-001, WRK-002, WRK-017: see the top of this module."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with app.worker(worker_id="worker-1") as worker:
        await worker.run_once()
        await gate.until_running(1)

        job = await app.job(job_id)
        (attempt,) = await app.attempts(job_id)

    assert (job.status, job.stage, job.worker_id) == (JobStatus.LEASED, "running", "worker-1")
    assert attempt.claim_origin is JobClaimOrigin.WORKER_PRESTART
    assert attempt.execution_started_persisted_at == attempt.leased_at


async def test_a_plain_handler_runs_in_a_thread(app: App) -> None:

    @app.registry.job(TYPE)
    def name_thread(context: JobContext, payload: Any) -> str:
        assert context
        assert payload is None
        return threading.current_thread().name

    job = await app.run(TYPE)

    assert job.status is JobStatus.SUCCEEDED
    assert str(job.output).startswith("runledger-handler-")


async def test_a_panic_is_recorded_and_the_worker_goes_on(app: App) -> None:
    """WRK-003, WRK-004."""

    async def send(context: JobContext, payload: object) -> None:
        assert context
        if payload == 0:
            raise ValueError("no such user")

    app.registry.job(TYPE)(send)
    first, second = await app.enqueue_many(TYPE, 2)

    async with app.worker(max_global_concurrency=1) as worker:
        for _ in range(2):
            await worker.run_once()
            await worker.finish_running()

    panicked = await app.job(first)
    assert (panicked.status, panicked.last_error_code) == (JobStatus.DEAD_LETTERED, "job.handler_panic")
    assert panicked.last_error_message == "ValueError: no such user"
    (attempt,) = await app.attempts(first)
    assert (attempt.outcome, attempt.error_code) == (JobFailureKind.PANICKED, "job.handler_panic")
    assert (await app.events(first))[-2:] == [JobEventType.FAILED, JobEventType.DEAD_LETTERED]
    assert (await app.job(second)).status is JobStatus.SUCCEEDED


async def test_a_timeout_is_recorded_and_tried_again(app: App) -> None:
    """WRK-005."""

    @app.registry.job(TYPE, timeout=timedelta(seconds=1))
    async def hang(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        await asyncio.Event().wait()

    job = await app.run(TYPE)

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.timeout_exceeded")
    (attempt,) = await app.attempts(job.id)
    assert attempt.outcome is JobFailureKind.TIMEOUT
    assert attempt.retry_delay_ms is not None
    assert attempt.retry_delay_ms >= 1_000


async def test_a_thread_that_overruns_keeps_its_slot_and_cannot_write_late(app: App) -> None:
    """WRK-005, WRK-016."""
    may_return = threading.Event()

    @app.registry.job(TYPE, timeout=timedelta(seconds=1))
    def hang(context: JobContext, payload: Any) -> Any:
        assert context
        if payload == 0:
            may_return.wait(20)
        return payload

    first, second = await app.enqueue_many(TYPE, 2)
    async with started(Worker(app.database, app.registry, quiet_config(max_global_concurrency=1))):
        await app.observer.until(
            "(SELECT count(*) = 1 FROM runledger.job_queue WHERE last_error_code = 'job.timeout_exceeded')"
        )
        assert (await app.job(second)).status is JobStatus.PENDING  # the only slot is taken
        may_return.set()
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")

    assert (await app.job(second)).status is JobStatus.SUCCEEDED
    late = await app.job(first)
    assert (late.status, late.output) == (JobStatus.PENDING, None)


class EmptyHandedRegistry(JobRegistry):
    """Knows its types, but has lost the handlers."""

    def get(self, job_type: str) -> RegisteredJob | None:
        assert job_type
        return None


async def test_a_claimed_type_without_a_handler_fails_for_good(app: App) -> None:
    """WRK-006."""
    app.registry.job(TYPE)(Gate().handle)
    job_id = await app.enqueue(TYPE)
    registry = EmptyHandedRegistry()
    registry.job(TYPE)(Gate().handle)
    worker = Worker(app.database, registry, quiet_config())
    await worker.open()
    try:
        await worker.run_once()
        await worker.finish_running()
    finally:
        await worker.stop()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.DEAD_LETTERED, "job.handler_not_registered")


async def test_the_context_names_the_attempt(app: App) -> None:
    """WRK-023."""
    seen: list[JobContext] = []

    @app.registry.job(TYPE, max_attempts=4)
    async def send(context: JobContext, payload: object) -> None:
        assert payload is None
        seen.append(context)

    organization_id = uuid4()
    job_id = await app.enqueue(TYPE, organization_id=organization_id)
    async with app.worker(worker_id="worker-1") as worker:
        await worker.run_once()
        await worker.finish_running()

    (context,) = seen
    assert (context.job_id, context.job_type, context.organization_id) == (job_id, TYPE, organization_id)
    assert (context.run_number, context.attempt, context.max_attempts) == (1, 1, 4)
    assert context.worker_id == "worker-1"


async def test_a_disabled_type_is_still_worked_off(app: App) -> None:
    """CLM-012."""
    app.registry.job(TYPE)(echo)
    job_id = await app.enqueue(TYPE)
    async with app.ledger.transaction() as connection:
        await run(connection, jobs.update_job_definition(TYPE, is_enabled=False))

    async with app.worker() as worker:
        await worker.run_once()
        await worker.finish_running()

    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED


# What is claimed, and when -------------------------------------------------------------------------------------


async def test_a_full_batch_is_followed_by_another_claim_at_once(app: App) -> None:
    """WRK-014. The poll interval is an hour."""
    app.registry.job(TYPE)(echo)
    await app.enqueue_many(TYPE, 10)

    async with started(Worker(app.database, app.registry, quiet_config(claim_batch_size=2))):
        await app.observer.until("(SELECT count(*) = 10 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")


async def test_a_free_slot_is_followed_by_another_claim_at_once(app: App) -> None:
    """WRK-014. So one slot works off a queue."""

    async def send(context: JobContext, payload: Any) -> Any:
        assert context
        return payload

    app.registry.job(TYPE)(send)
    await app.enqueue_many(TYPE, 10)

    async with started(Worker(app.database, app.registry, quiet_config(max_global_concurrency=1))):
        await app.observer.until("(SELECT count(*) = 10 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")


async def test_an_empty_queue_is_asked_again_after_the_poll_interval(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    config = quiet_config(poll_interval=timedelta(milliseconds=20))

    async with started(Worker(app.database, app.registry, config)):
        await app.enqueue(TYPE)
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")

    assert log.named("worker.claim_failed") == []


async def test_a_wake_up_ends_the_poll_interval(app: App) -> None:
    app.registry.job(TYPE)(echo)
    async with started(Worker(app.database, app.registry, quiet_config())) as worker:
        await app.enqueue(TYPE)
        worker.wake()
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")


async def test_a_wake_up_for_jobs_that_were_committed_late_lets_the_claim_see_them(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    async with started(Worker(app.database, app.registry, quiet_config())) as worker:
        for hours in (1, 2):
            due_at = datetime.now(UTC) - timedelta(hours=hours)
            await app.enqueue(TYPE, run_at=due_at)
            worker.wake(due_at)
            await app.observer.until("NOT EXISTS (SELECT FROM runledger.job_queue WHERE status <> 'SUCCEEDED')")


async def test_jobs_that_were_committed_late_are_found_without_a_wake_up(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    config = quiet_config(poll_interval=timedelta(milliseconds=20))
    async with started(Worker(app.database, app.registry, config)):
        await app.enqueue(TYPE, run_at=datetime.now(UTC) - timedelta(hours=1))
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")


async def test_many_jobs_that_were_committed_late_take_no_more_claims_than_others(app: App) -> None:
    """The poll interval is an hour, so a claim that overlooks them would be the last one."""
    count = 20_000
    executed, all_executed = 0, asyncio.Event()

    async def send(context: JobContext, payload: Any) -> None:
        nonlocal executed
        assert (context.attempt, payload) == (1, None)
        executed += 1
        if executed % count == 0:
            all_executed.set()

    app.registry.job(TYPE)(send)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    claims: list[int] = []
    config = quiet_config(claim_batch_size=500, max_global_concurrency=2 * count)
    async with started(Worker(app.database, app.registry, config)) as worker:
        for age in (timedelta(), timedelta(hours=1)):
            due_at = datetime.now(UTC) - age
            await app.ledger.enqueue_many(EnqueueRequest(TYPE, None, run_at=due_at) for _ in range(count))
            all_executed.clear()
            worker.wake(due_at)
            async with asyncio.timeout(60):
                await all_executed.wait()
            await worker.finish_running()
            (claim_count,) = await app.observer.row("SELECT count(DISTINCT leased_at) FROM runledger.job_attempts")
            claims.append(claim_count)

    ordinary, late = claims[0], claims[1] - claims[0]
    assert late <= 1.5 * ordinary


async def test_no_more_jobs_run_at_once_than_there_are_slots(app: App) -> None:
    """WRK-016."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue_many(TYPE, 10)
    config = quiet_config(max_global_concurrency=3, claim_batch_size=2)

    async with started(Worker(app.database, app.registry, config)):
        await gate.until_running(3)
        assert await app.count("LEASED") == 3
        gate.open()
        await app.observer.until("(SELECT count(*) = 10 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")

    assert gate.most == 3


async def test_nothing_is_claimed_without_handlers(app: App) -> None:
    """WRK-021."""
    app.registry.job(TYPE)(Gate().handle)
    job_id = await app.enqueue(TYPE)
    worker = Worker(app.database, JobRegistry(), quiet_config())

    async with started(worker):
        assert await worker.run_once() == 0

    assert (await app.job(job_id)).status is JobStatus.PENDING


async def test_only_registered_types_are_claimed(app: App) -> None:
    other = JobRegistry()
    other.job("sms.send")(Gate().handle)
    await app.ledger.ensure_job_definitions(other.definitions())
    job_id = await app.ledger.enqueue("sms.send")
    app.registry.job(TYPE)(Gate().handle)

    async with app.worker() as worker:
        assert await worker.run_once() == 0

    assert (await app.job(job_id)).status is JobStatus.PENDING


async def test_types_registered_before_the_start_are_served(app: App) -> None:
    """Not only those of when the worker was made."""
    worker = Worker(app.database, app.registry, quiet_config())
    app.registry.job(TYPE)(echo)
    job_id = await app.enqueue(TYPE)

    await worker.open()
    try:
        assert await worker.run_once() == 1
        await worker.finish_running()
    finally:
        await worker.stop()

    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED


async def test_a_failing_claim_is_logged_once_and_tried_again(app: App, log: LogWatch) -> None:
    """WRK-020."""
    app.registry.job(TYPE)(echo)
    job_id = await app.enqueue(TYPE)
    await app.observer.execute("ALTER TABLE runledger.job_events RENAME TO hidden")

    async with started(Worker(app.database, app.registry, quiet_config())):
        await log.wait_for("worker.claim_failed")
        await app.observer.execute("ALTER TABLE runledger.hidden RENAME TO job_events")
        await app.observer.until("(SELECT bool_and(status = 'SUCCEEDED') FROM runledger.job_queue)")
        await log.wait_for("worker.claim_recovered")

    assert log.codes("worker.claim_failed") == ["schema.not_migrated"]
    assert [attempt.attempt for attempt in await app.attempts(job_id)] == [1]


async def test_a_job_waits_for_its_retry_delay(app: App) -> None:
    """WRK-010, WRK-012."""

    async def send(context: JobContext, payload: object) -> None:
        assert payload is None
        raise JobFailure.retryable("smtp.busy", f"attempt {context.attempt}")

    app.registry.job(TYPE)(send)
    app.registry.register_retry_delay_override(TYPE, "smtp.busy", timedelta(milliseconds=1))
    job_id = await app.enqueue(TYPE)

    async with app.worker() as worker:
        for attempt in (1, 2):
            await app.observer.until("(SELECT bool_and(next_run_at <= clock_timestamp()) FROM runledger.job_queue)")
            assert await worker.run_once() == 1
            await worker.finish_running()
            assert (await app.job(job_id)).last_error_message == f"attempt {attempt}"

    assert (await app.job(job_id)).status is JobStatus.PENDING


async def test_a_job_that_cannot_be_claimed_does_not_stop_the_others(app: App, log: LogWatch) -> None:
    """Set back by hand, its attempt exists already."""
    app.registry.job(TYPE)(echo)
    finished = await app.run(TYPE)
    await app.observer.execute("UPDATE runledger.job_queue SET status = 'PENDING', attempt = 0, finished_at = NULL")
    await app.enqueue_many(TYPE, 5)

    async with started(Worker(app.database, app.registry, quiet_config(claim_batch_size=4))):
        await app.observer.until("(SELECT count(*) = 5 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")

    (refused,) = log.named("worker.job_refused")
    assert vars(refused)["job_id"] == str(finished.id)
    assert log.codes("worker.job_refused") == ["db.unique_violation"]
    assert log.named("worker.claim_failed") == []


async def test_a_payload_that_postgresql_cannot_print_does_not_stop_the_others(app: App, log: LogWatch) -> None:
    app.registry.job(TYPE)(echo)
    bad, _ = await app.enqueue_many(TYPE, 2)
    await app.observer.execute(
        "UPDATE runledger.job_queue SET payload = (SELECT jsonb_agg(1e308) FROM generate_series(1, 3600000))"
        " WHERE payload = '0'"
    )
    async with app.worker() as worker:
        assert await worker.run_once() == 1
        await worker.finish_running()

    assert (await app.count("PENDING"), await app.count("SUCCEEDED")) == (1, 1)
    assert [vars(record)["job_id"] for record in log.named("worker.job_refused")] == [str(bad)]


# How it ends -----------------------------------------------------------------------------------------------------


async def test_a_stop_of_a_saturated_worker_waits_for_its_handlers_and_claims_no_more(app: App) -> None:
    """WRK-015."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue_many(TYPE, 3)
    worker = Worker(app.database, app.registry, quiet_config(max_global_concurrency=1))
    await worker.start()
    await gate.until_running(1)

    stopping = asyncio.create_task(worker.stop())
    async with asyncio.timeout(5):
        await worker.stop_claiming()
    assert not stopping.done()
    gate.open()
    await asyncio.wait_for(stopping, 10)

    assert (await app.count("SUCCEEDED"), await app.count("PENDING")) == (1, 2)


async def test_a_handler_that_does_not_end_in_time_is_canceled_and_its_job_is_due_at_once(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    worker = Worker(app.database, app.registry, quiet_config())
    await worker.start()
    await gate.until_running(1)

    await asyncio.wait_for(worker.stop(handler_timeout=timedelta()), 10)

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.worker_shutdown")
    assert await app.observer.value("SELECT next_run_at <= now() FROM runledger.job_queue")
    assert gate.running == 0


async def test_what_a_claim_in_flight_brings_is_given_back_at_a_stop(app: App) -> None:
    """No handler is called, and no attempt is consumed."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE, stage="draft")
    worker = Worker(app.database, app.registry, quiet_config())
    async with app.observer.locked("job_events"):
        await worker.start()
        await app.observer.until_blocked()
        stopping = asyncio.create_task(worker.stop())
        await asyncio.wait([stopping], timeout=0)  # until it waits for the claim
    await asyncio.wait_for(stopping, 10)

    job = await app.job(job_id)
    assert (job.status, job.attempt, job.stage, job.started_at) == (JobStatus.PENDING, 0, "draft", None)
    assert await app.attempts(job_id) == []
    assert await app.events(job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED, JobEventType.REQUEUED]
    assert gate.most == 0


async def test_a_claim_that_cannot_end_does_not_hold_up_a_stop(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runledger.runtime.claim_loop._GRACE_SECONDS", 0.05)
    app.registry.job(TYPE)(Gate().handle)
    job_id = await app.enqueue(TYPE)
    worker = Worker(app.database, app.registry, quiet_config())
    async with app.observer.locked("job_events"):
        await worker.start()
        await app.observer.until_blocked()

        await asyncio.wait_for(worker.stop(), 10)

    assert (await app.job(job_id)).status is JobStatus.PENDING
    await app.observer.until_sessions(at_most=0)


async def test_a_stop_while_it_starts_leaves_nothing(app: App) -> None:
    others = asyncio.all_tasks()
    worker = app.new_worker()

    await asyncio.gather(worker.start(), worker.stop())

    await assert_nothing_is_left(app, worker, others)


@pytest.mark.parametrize("table", ["job_definitions", "job_workers"])
async def test_a_stop_while_its_start_waits_for_the_database_leaves_nothing(app: App, table: LiteralString) -> None:
    app.registry.job(TYPE)(echo)
    others = asyncio.all_tasks()
    worker = app.new_worker()
    async with app.observer.locked(table):
        start = asyncio.create_task(worker.start())
        await app.observer.until_blocked()
        stop = asyncio.create_task(worker.stop())
        await asyncio.wait([start, stop], timeout=0.1)

    await asyncio.wait_for(asyncio.gather(start, stop), 20)

    await assert_nothing_is_left(app, worker, others)


async def assert_nothing_is_left(app: App, worker: Worker, others: set[asyncio.Task[Any]]) -> None:
    assert not worker.is_live
    assert await app.observer.value("SELECT count(*) FROM runledger.job_workers") == 0
    await app.observer.until_sessions(at_most=0)
    assert asyncio.all_tasks() <= others


async def test_a_stop_before_the_start_is_harmless(app: App) -> None:
    worker = Worker(app.database, app.registry, quiet_config())

    await worker.stop()
    await worker.stop()


async def test_a_worker_that_cannot_connect_leaves_nothing_behind() -> None:
    """Unclosed connections would be reported as warnings."""
    before = set(threading.enumerate())
    database = Database("host=127.0.0.1 port=1 user=nobody connect_timeout=2")

    with pytest.raises(DatabaseConnectionError):
        await Worker(database, JobRegistry(), quiet_config()).start()
    with pytest.raises(DatabaseConnectionError):
        await run_worker_loop(database, JobRegistry(), quiet_config(), asyncio.Event())

    assert [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("runledger-")] == []


async def test_the_loop_for_hosts_runs_until_its_event_is_set(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.enqueue(TYPE)
    shutdown = asyncio.Event()

    async with AsyncConnectionPool(app.url, open=False) as pool:
        loop = asyncio.create_task(run_worker_loop(Database.of_pool(pool), app.registry, quiet_config(), shutdown))
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
        shutdown.set()
        await asyncio.wait_for(loop, 10)


# A connection that fails -----------------------------------------------------------------------------------------


async def test_a_claim_whose_session_ends_is_made_again(app: App, log: LogWatch) -> None:
    """WRK-020. Nothing was committed, so nothing is to be given back."""
    app.registry.job(TYPE)(echo)
    job_id = await app.enqueue(TYPE)
    async with app.observer.locked("job_events"):
        worker = Worker(app.database, app.registry, quiet_config())
        await worker.start()
        await app.observer.until_blocked()
        await app.observer.end_blocked_sessions()
        await log.wait_for("worker.claim_failed")
    await app.observer.until("(SELECT bool_and(status = 'SUCCEEDED') FROM runledger.job_queue)")
    await worker.stop()

    assert log.codes("worker.claim_failed") == ["db.connection_failed"]
    assert [attempt.attempt for attempt in await app.attempts(job_id)] == [1]


async def test_claims_whose_answer_was_lost_are_given_back_and_claimed_again(app: App) -> None:
    """The claim was committed, and nobody remembers it: neither its handler nor its attempt is used up."""
    calls: list[int] = []

    async def send(context: JobContext, payload: object) -> None:
        assert payload == 0
        calls.append(context.attempt)

    app.registry.job(TYPE)(send)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url)) as worker:
        assert await worker.run_once() == 0  # the statement is prepared
        (job_id,) = await app.enqueue_many(TYPE, 1)
        wire.lose_next_answer()
        with pytest.raises(DatabaseConnectionError):
            await worker.run_once()
        assert (await app.job(job_id)).status is JobStatus.LEASED

        assert await worker.run_once() == 1
        await worker.finish_running()

    assert calls == [1]
    assert (await app.job(job_id)).status is JobStatus.SUCCEEDED
    assert await app.events(job_id) == [
        JobEventType.ENQUEUED,
        JobEventType.LEASED,
        JobEventType.REQUEUED,
        JobEventType.LEASED,
        JobEventType.SUCCEEDED,
    ]


async def test_a_claim_whose_answer_was_lost_is_given_back_at_a_stop(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url)) as worker:
        assert await worker.run_once() == 0
        (job_id,) = await app.enqueue_many(TYPE, 1)
        wire.lose_next_answer()
        with pytest.raises(DatabaseConnectionError):
            await worker.run_once()

    job = await app.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.PENDING, 0)


async def test_a_forgotten_claim_that_somebody_has_locked_is_given_back_later(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.runtime.claimer._RECONCILE_PAUSE_SECONDS", 0.0)
    app.registry.job(TYPE)(echo)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url)) as worker:
        assert await worker.run_once() == 0
        (job_id,) = await app.enqueue_many(TYPE, 1)
        wire.lose_next_answer()
        with pytest.raises(DatabaseConnectionError):
            await worker.run_once()
        async with app.observer.locked_job(job_id):
            assert await worker.run_once() == 0

        assert await worker.run_once() == 1
        await worker.finish_running()

    assert [attempt.attempt for attempt in await app.attempts(job_id)] == [1]
    assert log.named("worker.forgotten_claims_left_to_reaper") == []


async def test_jobs_that_run_are_not_given_back_with_forgotten_claims(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url)) as worker:
        (running,) = await app.enqueue_many(TYPE, 1)
        assert await worker.run_once() == 1
        await gate.until_running(1)
        (forgotten,) = await app.enqueue_many(TYPE, 1)
        wire.lose_next_answer()
        with pytest.raises(DatabaseConnectionError):
            await worker.run_once()

        assert await worker.run_once() == 1
        await gate.until_running(2)
        gate.open()
        await worker.finish_running()

    for job_id in (running, forgotten):
        assert (await app.job(job_id)).status is JobStatus.SUCCEEDED
        assert [attempt.attempt for attempt in await app.attempts(job_id)] == [1]


async def test_a_late_answer_starts_no_handler(app: App) -> None:
    """Its leases have nearly ended: a handler that begins now would soon run without one."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=1)) as worker:
        async with app.observer.locked("job_events"):
            claim = asyncio.create_task(worker.run_once())
            await app.observer.until_blocked()
            since = Literal(await app.observer.value("SELECT clock_timestamp()"))
            await app.observer.until(SQL("clock_timestamp() > {} + interval '0.8 s'").format(since))
        assert await claim == 0

    assert gate.most == 0
    assert (await app.job(job_id)).attempt == 0


async def test_a_claim_brings_no_more_payload_into_memory_than_configured(app: App) -> None:
    """The claims follow each other at once, and small payloads come in full batches again."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    for payload in ["x" * 10_000] * 9 + [None] * 20:
        await app.enqueue(TYPE, payload)

    claimed: list[int] = []
    async with app.worker(claim_max_payload_bytes=30_000, max_global_concurrency=100) as worker:
        while (count := await worker.run_once()) > 0:
            claimed.append(count)
        gate.open()
        await worker.finish_running()

    assert claimed[:3] == [3, 3, 3]
    assert sum(claimed) == 29
    assert max(claimed[3:]) > 6


async def test_a_worker_polls_at_once_after_a_claim_that_payloads_filled(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    for _ in range(6):
        await app.enqueue(TYPE, "x" * 10_000)
    worker = Worker(app.database, app.registry, app.config(claim_max_payload_bytes=20_000))
    await worker.start()
    try:
        await gate.until_running(6)
    finally:
        gate.open()
        await worker.stop()
