"""A handler's own transaction: its rows and the success of its job are committed together, or neither is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.core import (
    ConfigError,
    EnqueueRequest,
    InvalidArgumentError,
    JobEventType,
    JobFailure,
    JobRecord,
    JobStatus,
)
from runledger.postgres import Database, jobs, run_sync
from runledger.runtime import RunningJobContext, Worker
from tests.runtime.app import App
from tests.runtime.log_watch import LogWatch
from tests.wire import Loss, Wire, wire_to

TYPE = "booking.enter"
DONE = [JobEventType.ENQUEUED, JobEventType.LEASED, JobEventType.SUCCEEDED]
INSERT = "INSERT INTO bookings VALUES (%s)"

Handler = Callable[[RunningJobContext, Any], Awaitable[Any]]


async def make_table(app: App) -> None:
    # The check is deferred, so that a COMMIT can be refused.
    await app.observer.execute("""
        CREATE TABLE accounts (id integer PRIMARY KEY);
        CREATE TABLE bookings (
            job_id uuid PRIMARY KEY, account integer REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)""")


async def book(context: RunningJobContext, payload: Any) -> None:
    async with context.transaction() as connection:
        await connection.execute(INSERT, [context.job_id])
        context.set_output(payload)


def book_in_thread(context: RunningJobContext, payload: Any) -> None:
    with context.transaction() as connection:
        connection.execute(INSERT, [context.job_id])
        context.set_output(payload)


BOTH = pytest.mark.parametrize("handler", [book, book_in_thread])


async def bookings(app: App) -> int:
    return await app.observer.value("SELECT count(*) FROM bookings")


async def run(app: App, handler: Any, **settings: Any) -> JobRecord:
    """Run one attempt of a job that has three."""
    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(handler)
    return await app.run(TYPE, {"amount": 1}, **settings)


@BOTH
async def test_the_rows_and_the_success_have_one_commit(app: App, log: LogWatch, handler: Any) -> None:
    job = await run(app, handler)

    assert (job.status, job.output, job.stage) == (JobStatus.SUCCEEDED, {"amount": 1}, "completed")
    assert await app.events(job.id) == DONE
    transactions = await app.observer.column("""
        SELECT xmin::text FROM bookings UNION SELECT xmin::text FROM runledger.job_queue
         UNION SELECT xmin::text FROM runledger.job_attempts
         UNION SELECT xmin::text FROM runledger.job_events WHERE event_type = 'SUCCEEDED'""")
    assert len(transactions) == 1
    assert [record.msg for record in log.records if record.levelname != "INFO"] == []


async def test_the_pool_of_the_application_is_used_by_the_handlers_it_fits(app: App) -> None:
    await make_table(app)
    app.registry.job(TYPE)(book)
    app.registry.job("booking.count")(book_in_thread)
    await app.enqueue(TYPE)
    await app.enqueue("booking.count")
    async with AsyncConnectionPool[Any](app.url, min_size=1, max_size=1, open=False) as pool:
        worker = Worker(app.database, app.registry, app.config(), pool=pool)
        await worker.open()
        await worker.run_once()
        await worker.finish_running()
        await worker.stop()
        assert pool.get_stats()["requests_num"] == 1
        assert not pool.closed

    assert await app.count("SUCCEEDED") == 2


async def test_a_blocking_pool_serves_handlers_in_threads(app: App) -> None:
    await make_table(app)
    app.registry.job(TYPE)(book_in_thread)
    await app.enqueue(TYPE)
    with ConnectionPool[Any](app.url, min_size=1, max_size=1, open=True) as pool:
        worker = Worker(app.database, app.registry, app.config(), pool=pool)
        await worker.open()
        await worker.run_once()
        await worker.finish_running()
        await worker.stop()
        assert pool.get_stats()["requests_num"] == 1

    assert await app.count("SUCCEEDED") == 1


async def test_a_pool_that_is_none_is_refused(app: App) -> None:
    pool: Any = app.ledger

    with pytest.raises(ConfigError, match="ConnectionPool"):
        Worker(app.database, app.registry, app.config(), pool=pool)


async def test_an_exception_in_the_block_rolls_back_and_fails_the_attempt(app: App) -> None:
    async def fail(context: RunningJobContext, payload: Any) -> None:
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            raise JobFailure.retryable("bank.busy", str(payload))

    job = await run(app, fail)

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "bank.busy")
    assert await bookings(app) == 0


async def test_an_exception_in_the_block_of_a_thread_rolls_back(app: App) -> None:
    def fail(context: RunningJobContext, payload: Any) -> None:
        with context.transaction() as connection:
            connection.execute(INSERT, [context.job_id])
            raise JobFailure.retryable("bank.busy", str(payload))

    job = await run(app, fail)

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "bank.busy")
    assert await bookings(app) == 0


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_lost_lease_rolls_both_back(app: App, log: LogWatch, *, is_in_thread: bool) -> None:
    """WRK-019. The lease goes to somebody else while the block is open."""
    steal = "UPDATE runledger.job_queue SET worker_id = 'somebody else'"

    async def lose(context: RunningJobContext, payload: Any) -> None:
        assert payload
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            await app.observer.execute(steal)

    def lose_in_thread(context: RunningJobContext, payload: Any) -> None:
        assert payload
        with context.transaction() as connection, psycopg.connect(app.url) as other:
            connection.execute(INSERT, [context.job_id])
            other.execute(steal)
            other.commit()

    job = await run(app, lose_in_thread if is_in_thread else lose)

    assert (job.status, job.worker_id) == (JobStatus.LEASED, "somebody else")
    assert await bookings(app) == 0
    assert log.codes("worker.outcome_not_written") == ["job.lease_owner_mismatch"]
    assert log.named("worker.handler_panicked") == []


async def test_what_the_handler_does_after_the_commit_cannot_undo_it(app: App, log: LogWatch) -> None:
    async def go_on(context: RunningJobContext, payload: Any) -> None:
        await book(context, payload)
        raise JobFailure.terminal("mail.rejected", "too late")

    job = await run(app, go_on)

    assert job.status is JobStatus.SUCCEEDED
    assert await app.events(job.id) == DONE
    assert log.codes("worker.failed_after_commit") == ["mail.rejected"]
    assert log.named("worker.outcome_not_written") == []


async def test_an_output_returned_after_the_commit_is_not_stored_and_said_so(app: App, log: LogWatch) -> None:
    async def go_on(context: RunningJobContext, payload: Any) -> str:
        await book(context, payload)
        return "too late"

    job = await run(app, go_on)

    assert job.output == {"amount": 1}
    assert len(log.named("worker.output_after_commit")) == 1


async def test_a_handler_that_goes_on_after_the_commit_is_not_canceled_for_its_lease(app: App, log: LogWatch) -> None:
    """The lease keeper finds the lease gone, and so it is meant to be."""

    async def go_on(context: RunningJobContext, payload: Any) -> None:
        await book(context, payload)
        await app.observer.until(
            "(SELECT max(occurred_at) + interval '1.2 s' < clock_timestamp() FROM runledger.job_events)"
        )

    await make_table(app)
    app.registry.job(TYPE)(go_on)
    await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=1)) as worker:
        await worker.run_once()
        await worker.finish_running()

    assert await app.count("SUCCEEDED") == 1
    assert log.named("worker.failed_after_commit") == []


async def test_the_timeout_in_the_block_rolls_back(app: App) -> None:
    async def hang(context: RunningJobContext, payload: Any) -> None:
        assert payload
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            await asyncio.Event().wait()

    job = await run(app, hang, timeout=timedelta(seconds=1))

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.timeout_exceeded")
    assert await bookings(app) == 0


async def test_a_block_that_swallows_its_cancellation_rolls_back(app: App) -> None:
    async def hang(context: RunningJobContext, payload: Any) -> None:
        assert payload
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    job = await run(app, hang, timeout=timedelta(seconds=1))

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.timeout_exceeded")
    assert await bookings(app) == 0


async def test_a_thread_that_overran_its_timeout_commits_nothing(app: App) -> None:
    def overrun(context: RunningJobContext, payload: Any) -> None:
        assert payload
        with context.transaction() as connection:
            connection.execute(INSERT, [context.job_id])
            with psycopg.connect(app.url, autocommit=True) as other:
                while other.execute("SELECT 1 FROM runledger.job_queue WHERE status = 'LEASED'").fetchone():
                    pass

    job = await run(app, overrun, timeout=timedelta(seconds=1))

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.timeout_exceeded")
    await app.observer.until(
        "NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database())"
    )
    assert await bookings(app) == 0


async def test_a_cancellation_during_the_commit_waits_for_it(app: App, log: LogWatch) -> None:
    """A COMMIT on its way cannot be taken back, so the job is finished and not timed out."""
    await app.observer.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON runledger.job_queue DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW WHEN (NEW.status = 'SUCCEEDED') EXECUTE FUNCTION wait()"
    )
    await make_table(app)
    app.registry.job(TYPE)(book)
    job_id = await app.enqueue(TYPE)
    await app.observer.execute("SELECT pg_advisory_lock(1)")
    async with app.worker() as worker:
        await worker.run_once()
        await app.observer.until_blocked()
        canceling = asyncio.create_task(worker.cancel_running())
        await app.observer.execute("SELECT pg_advisory_unlock(1)")
        await canceling
        await worker.finish_running()

    assert await app.events(job_id) == DONE
    assert await bookings(app) == 1
    assert log.codes("worker.failed_after_commit") == ["job.worker_shutdown"]


async def test_a_second_transaction_in_an_attempt_is_refused(app: App) -> None:
    refusals: list[str] = []

    async def twice(context: RunningJobContext, payload: Any) -> None:
        await book(context, payload)
        try:
            await book(context, payload)
        except InvalidArgumentError as error:
            refusals.append(error.field)

    job = await run(app, twice)

    assert (job.status, refusals) == (JobStatus.SUCCEEDED, ["transaction"])


async def test_the_wrong_form_is_refused(app: App) -> None:
    async def wrong(context: RunningJobContext, payload: Any) -> None:
        assert payload
        with pytest.raises(InvalidArgumentError, match="async with"), context.transaction():
            pass

    assert (await run(app, wrong)).status is JobStatus.SUCCEEDED


async def test_an_output_outside_of_the_block_is_refused(app: App) -> None:
    async def wrong(context: RunningJobContext, payload: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="return it"):
            context.set_output(payload)

    assert (await run(app, wrong)).status is JobStatus.SUCCEEDED


async def test_an_output_that_json_cannot_hold_rolls_back(app: App) -> None:
    async def wrong(context: RunningJobContext, payload: Any) -> None:
        await book(context, payload if payload is None else float("nan"))

    job = await run(app, wrong)

    assert (job.status, await bookings(app)) == (JobStatus.DEAD_LETTERED, 0)


async def test_a_commit_that_postgresql_refuses_is_the_handlers_own_error(app: App) -> None:
    async def refused(context: RunningJobContext, payload: Any) -> None:
        assert payload
        try:
            async with context.transaction() as connection:
                await connection.execute("INSERT INTO bookings VALUES (%s, 17)", [context.job_id])
        except psycopg.errors.ForeignKeyViolation as error:
            raise JobFailure.retryable("account.missing", "no such account") from error

    job = await run(app, refused)

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "account.missing")
    assert await bookings(app) == 0


async def test_a_block_that_swallowed_a_database_error_commits_nothing(app: App) -> None:
    async def swallow(context: RunningJobContext, payload: Any) -> None:
        assert payload
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            with contextlib.suppress(psycopg.Error):
                await connection.execute("SELECT 1/0")

    job = await run(app, swallow)

    assert (job.status, job.last_error_code) == (JobStatus.DEAD_LETTERED, "job.handler_panic")
    assert "InFailedSqlTransaction" in (job.last_error_message or "")


async def test_a_block_that_commits_by_itself_does_not_finish_the_job(app: App) -> None:
    async def commit(context: RunningJobContext, payload: Any) -> None:
        assert payload
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            await connection.execute("COMMIT")

    job = await run(app, commit)

    assert (job.status, job.last_error_code) == (JobStatus.DEAD_LETTERED, "job.handler_panic")
    assert "leave COMMIT" in (job.last_error_message or "")


async def test_a_block_that_asks_for_a_rollback_leaves_the_outcome_to_the_handler(app: App) -> None:
    async def nothing_to_do(context: RunningJobContext, payload: Any) -> Any:
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            raise psycopg.Rollback
        return payload

    job = await run(app, nothing_to_do)

    assert (job.status, job.output) == (JobStatus.SUCCEEDED, {"amount": 1})
    assert await bookings(app) == 0


@contextlib.asynccontextmanager
async def worker_with_pool(
    app: App, url: str, *, is_in_thread: bool, **settings: Any
) -> AsyncGenerator[tuple[Worker, Any]]:
    """A worker with the application's pool of one connection."""
    settings = {"min_size": 1, "max_size": 1, "open": False} | settings
    if is_in_thread:
        pool: Any = ConnectionPool[Any](url, **settings)
        await asyncio.to_thread(pool.open, wait=True)
    else:
        pool = AsyncConnectionPool[Any](url, **settings)
        await pool.open(wait=True)
    worker = Worker(app.database, app.registry, app.config(), pool=pool)
    await worker.open()
    try:
        yield worker, pool
    finally:
        await worker.stop(handler_timeout=timedelta())
        await asyncio.to_thread(pool.close) if is_in_thread else await pool.close()


@contextlib.asynccontextmanager
async def worker_with_lossy_pool(
    app: App, *, is_in_thread: bool, **settings: Any
) -> AsyncGenerator[tuple[Worker, Wire]]:
    """A worker whose own connections are sound, while those of its handlers go over a wire."""
    async with (
        wire_to(app.url) as wire,
        worker_with_pool(app, wire.url, is_in_thread=is_in_thread, **settings) as (worker, _),
    ):
        yield worker, wire


# A deferred trigger runs within COMMIT: the test loses the answer that comes after it.
WAIT_IN_COMMIT = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON bookings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait()
"""


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_commit_whose_answer_was_lost_is_found_in_the_ledger(
    app: App, log: LogWatch, *, is_in_thread: bool
) -> None:
    await make_table(app)
    await app.observer.execute(WAIT_IN_COMMIT)
    app.registry.job(TYPE)(book_in_thread if is_in_thread else book)
    job_id = await app.enqueue(TYPE)
    await app.observer.execute("SELECT pg_advisory_lock(1)")
    async with worker_with_lossy_pool(app, is_in_thread=is_in_thread) as (worker, wire):
        await worker.run_once()
        await app.observer.until_blocked()
        wire.lose_next_answer()
        await app.observer.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.wait_for(worker.finish_running(), 20)

    assert wire.has_lost_answer.is_set()
    assert await app.events(job_id) == DONE
    assert await bookings(app) == 1
    assert [record.msg for record in log.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_commit_that_never_happened_is_another_attempt(app: App, *, is_in_thread: bool) -> None:
    """The session ends within COMMIT, before anything is committed."""
    await make_table(app)
    await app.observer.execute(WAIT_IN_COMMIT)
    app.registry.job(TYPE)(book_in_thread if is_in_thread else book)
    job_id = await app.enqueue(TYPE)
    await app.observer.execute("SELECT pg_advisory_lock(1)")
    async with worker_with_lossy_pool(app, is_in_thread=is_in_thread) as (worker, _):
        await worker.run_once()
        await app.observer.until_blocked()
        await app.observer.end_blocked_sessions()
        await asyncio.wait_for(worker.finish_running(), 20)

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.connection_failed")
    assert await bookings(app) == 0


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_commit_that_never_arrives_frees_the_job_soon(
    app: App, monkeypatch: pytest.MonkeyPatch, *, is_in_thread: bool
) -> None:
    """The server waits for a word of a client that is gone, and keeps the job locked only for so long."""
    monkeypatch.setattr("runledger.runtime.handler_transaction._IDLE_TIMEOUT", timedelta(milliseconds=200))
    await make_table(app)
    app.registry.job(TYPE)(book_in_thread if is_in_thread else book)
    job_id = await app.enqueue(TYPE)
    async with worker_with_lossy_pool(app, is_in_thread=is_in_thread) as (worker, wire):
        wire.break_at(b"COMMIT", Loss.CLIENT)
        await worker.run_once()
        await asyncio.wait_for(worker.finish_running(), 4)

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.connection_failed")
    assert await bookings(app) == 0


@pytest.mark.parametrize("is_in_thread", [False, True])
@pytest.mark.parametrize("is_ours", [False, True])
async def test_a_connection_lost_under_a_statement_of_the_block_is_another_attempt(
    app: App, log: LogWatch, *, is_in_thread: bool, is_ours: bool
) -> None:
    """A restart of PostgreSQL must not make dead letters of the jobs that it meets."""
    wait = "SELECT pg_advisory_xact_lock_shared(1)"

    async def hang(context: RunningJobContext, payload: Any) -> None:
        assert payload is None
        async with context.transaction() as connection:
            if is_ours:
                await app.ledger.enqueue(TYPE, connection=connection, idempotency_key="one")
            else:
                await connection.execute(wait)

    def hang_in_thread(context: RunningJobContext, payload: Any) -> None:
        assert payload is None
        with context.transaction() as connection:
            if is_ours:
                run_sync(connection, jobs.enqueue_job(EnqueueRequest(TYPE, None, idempotency_key="one")))
            else:
                connection.execute(wait)

    app.registry.job(TYPE, max_attempts=3)(hang_in_thread if is_in_thread else hang)
    job_id = await app.enqueue(TYPE)
    await app.observer.execute("SELECT pg_advisory_lock(1)")
    async with await psycopg.AsyncConnection.connect(app.url) as twin, app.worker() as worker:
        await app.ledger.enqueue(TYPE, connection=twin, idempotency_key="one")
        await worker.run_once()
        await app.observer.until_blocked()
        await app.observer.end_blocked_sessions()
        await asyncio.wait_for(worker.finish_running(), 20)
        await twin.rollback()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.connection_failed")
    assert job.last_error_message == "handler transaction: the connection to PostgreSQL was lost in the block"
    assert log.named("worker.handler_panicked") == []


async def test_a_connection_to_something_else_that_is_lost_in_the_block_is_the_handlers_own_error(app: App) -> None:
    async def lose(context: RunningJobContext, payload: Any) -> None:
        assert payload
        async with context.transaction():
            raise psycopg.OperationalError("the other database is away")

    job = await run(app, lose)

    assert (job.status, job.last_error_code) == (JobStatus.DEAD_LETTERED, "job.handler_panic")


@BOTH
async def test_a_database_that_cannot_be_reached_is_another_attempt(
    app: App, handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker opens a pool of its own at the first transaction."""
    async with wire_to(app.url) as wire:
        unreachable = Database(wire.url)
    await make_table(app)
    app.registry.job(TYPE)(handler)
    job_id = await app.enqueue(TYPE)
    async with app.worker() as worker:
        monkeypatch.setattr(vars(worker)["_pools"], "database", unreachable)
        await worker.run_once()
        await worker.finish_running()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.connection_failed")


async def test_a_job_row_that_stays_locked_is_another_attempt(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runledger.runtime.handler_transaction._LOCK_TIMEOUT", timedelta(milliseconds=20))

    async def locked(context: RunningJobContext, payload: Any) -> None:
        async with app.observer.locked_job(context.job_id):
            await book(context, payload)

    job = await run(app, locked)

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.query_failed")
    assert await bookings(app) == 0


async def test_of_two_blocks_at_once_one_is_refused(app: App) -> None:
    """The first waits for the pool of the worker to open, and the second must not slip in meanwhile."""
    await app.observer.execute("CREATE TABLE public.entries (number integer)")
    ends: list[BaseException | None] = []

    @app.registry.job("both.blocks")
    async def handle(context: RunningJobContext, payload: object) -> None:
        assert payload is None

        async def block(number: int) -> None:
            async with context.transaction() as connection:
                await connection.execute("INSERT INTO public.entries VALUES (%s)", [number])

        ends.extend(await asyncio.gather(block(1), block(2), return_exceptions=True))

    job = await app.run("both.blocks")

    assert job.status is JobStatus.SUCCEEDED
    assert ends[0] is None
    assert isinstance(ends[1], InvalidArgumentError)
    assert await app.observer.value("SELECT array_agg(number) FROM public.entries") == [1]


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_pool_without_a_free_connection_is_another_attempt_that_says_so(
    app: App, *, is_in_thread: bool
) -> None:
    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(book_in_thread if is_in_thread else book)
    job_id = await app.enqueue(TYPE)
    async with worker_with_pool(app, app.url, is_in_thread=is_in_thread, timeout=0.05) as (worker, pool):
        connection = pool.getconn() if is_in_thread else await pool.getconn()
        await worker.run_once()
        await worker.finish_running()
        pool.putconn(connection) if is_in_thread else await pool.putconn(connection)

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.pool_timeout")
    assert job.last_error_message == (
        "handler transaction: the pool gave no connection (couldn't get a connection after 0.05 sec): all are in use, "
        "or no new one can be opened; enlarge the pool, or let fewer work at once"
    )


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_pool_that_was_closed_is_another_attempt_that_says_so(app: App, *, is_in_thread: bool) -> None:
    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(book_in_thread if is_in_thread else book)
    job_id = await app.enqueue(TYPE)
    async with worker_with_pool(app, app.url, is_in_thread=is_in_thread) as (worker, pool):
        await asyncio.to_thread(pool.close) if is_in_thread else await pool.close()
        await worker.run_once()
        await worker.finish_running()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "db.pool_closed")


@pytest.mark.parametrize("is_in_thread", [False, True])
async def test_a_block_that_got_no_connection_does_not_count_as_begun(app: App, *, is_in_thread: bool) -> None:
    await make_table(app)
    pools: list[Any] = []
    codes: list[str] = []

    async def try_twice(context: RunningJobContext, payload: Any) -> None:
        async with pools[0].connection():
            try:
                await book(context, payload)
            except JobFailure as failure:
                codes.append(failure.code)
        await book(context, payload)

    def try_twice_in_thread(context: RunningJobContext, payload: Any) -> None:
        with pools[0].connection():
            try:
                book_in_thread(context, payload)
            except JobFailure as failure:
                codes.append(failure.code)
        book_in_thread(context, payload)

    app.registry.job(TYPE)(try_twice_in_thread if is_in_thread else try_twice)
    await app.enqueue(TYPE)
    async with worker_with_pool(app, app.url, is_in_thread=is_in_thread, timeout=0.05) as (worker, pool):
        pools.append(pool)
        await worker.run_once()
        await worker.finish_running()

    assert codes == ["db.pool_timeout"]
    assert (await app.count("SUCCEEDED"), await bookings(app)) == (1, 1)


# Less than the driver waits by itself for a server that does not answer, which is five seconds, twice.
PATIENCE = 4.5


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runledger.runtime.execution._ANSWER_SECONDS", 0.05)
    monkeypatch.setattr("runledger.runtime.execution._COMMIT_ANSWER_SECONDS", 0.05)


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize("place", ["the check of the pool", "a statement", "ROLLBACK"])
async def test_a_silent_network_does_not_hold_up_the_timeout(app: App, place: str) -> None:
    wires: list[Wire] = []

    async def hang(context: RunningJobContext, payload: Any) -> None:
        assert payload is None
        if place == "the check of the pool":
            wires[0].freeze()
        async with context.transaction() as connection:
            await connection.execute(INSERT, [context.job_id])
            wires[0].freeze()
            if place == "a statement":
                await connection.execute("SELECT 1")
            raise RuntimeError

    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(hang)
    job_id = await app.enqueue(TYPE, timeout=timedelta(seconds=1))
    check = AsyncConnectionPool.check_connection if place == "the check of the pool" else None
    async with worker_with_lossy_pool(app, is_in_thread=False, check=check) as (worker, wire):
        wires.append(wire)
        await worker.run_once()
        await asyncio.wait_for(worker.finish_running(), 1 + PATIENCE)
        wire.thaw()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.timeout_exceeded")
    assert await bookings(app) == 0


async def test_a_silent_network_does_not_keep_a_shutdown_from_being_recorded(app: App) -> None:
    """The driver waits longer for the server than a shutdown waits for handlers."""
    is_frozen = asyncio.Event()
    wires: list[Wire] = []

    async def hang(context: RunningJobContext, payload: Any) -> None:
        assert payload is None
        async with context.transaction() as connection:
            wires[0].freeze()
            is_frozen.set()
            await connection.execute(INSERT, [context.job_id])

    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(hang)
    job_id = await app.enqueue(TYPE)
    async with worker_with_lossy_pool(app, is_in_thread=False) as (worker, wire):
        wires.append(wire)
        await worker.run_once()
        await is_frozen.wait()
        await worker.stop(handler_timeout=timedelta())
        wire.thaw()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.worker_shutdown")


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize("place", ["a statement", "the end of the block"])
async def test_a_silent_network_does_not_keep_a_thread_for_ever(app: App, place: str) -> None:
    """Its slot is free again a little after the timeout."""
    wires: list[Wire] = []
    ended = threading.Event()

    def hang(context: RunningJobContext, payload: Any) -> None:
        assert payload is None
        try:
            with context.transaction() as connection:
                connection.execute(INSERT, [context.job_id])
                wires[0].freeze()
                if place == "a statement":
                    connection.execute("SELECT 1")
        finally:
            ended.set()

    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(hang)
    job_id = await app.enqueue(TYPE, timeout=timedelta(seconds=1))
    async with worker_with_lossy_pool(app, is_in_thread=True) as (worker, wire):
        wires.append(wire)
        await worker.run_once()
        assert await asyncio.to_thread(ended.wait, 10)
        await worker.finish_running()
        wire.thaw()

    job = await app.job(job_id)
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.timeout_exceeded")


@pytest.mark.usefixtures("short_silence")
async def test_a_thread_that_overran_its_timeout_gives_up_its_locks(app: App) -> None:
    """Else the next attempt would wait for rows of one that can commit nothing."""
    ended = threading.Event()

    def overrun(context: RunningJobContext, payload: Any) -> None:
        assert payload is None
        with context.transaction() as connection:
            connection.execute(INSERT, [context.job_id])
            ended.wait()

    await make_table(app)
    app.registry.job(TYPE, max_attempts=3)(overrun)
    job_id = await app.enqueue(TYPE, timeout=timedelta(seconds=1))
    async with app.worker() as worker:
        await worker.run_once()
        await worker.finish_running()
        try:
            await app.observer.until(
                "NOT EXISTS (SELECT FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database())"
            )
        finally:
            ended.set()

    assert (await app.job(job_id)).last_error_code == "job.timeout_exceeded"


async def test_a_block_of_a_thread_after_its_timeout_is_not_opened(app: App) -> None:
    ends: list[type[BaseException]] = []
    ended = threading.Event()

    def overrun(context: RunningJobContext, payload: Any) -> None:
        with psycopg.connect(app.url, autocommit=True) as other:
            while other.execute("SELECT 1 FROM runledger.job_queue WHERE status = 'LEASED'").fetchone():
                pass
        try:
            book_in_thread(context, payload)
        except BaseException as error:  # noqa: BLE001 (that is what is looked at)
            ends.append(type(error))
        ended.set()

    job = await run(app, overrun, timeout=timedelta(seconds=1))

    assert job.last_error_code == "job.timeout_exceeded"
    assert await asyncio.to_thread(ended.wait, 20)
    assert ends == [asyncio.CancelledError]
