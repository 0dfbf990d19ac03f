"""The two runners: whose transaction an operation runs in, and what its errors show."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Transaction
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.core import EnqueueRequest, InvalidArgumentError, JobStatus, LeaseIdentity
from runledger.postgres import (
    DatabaseConnectionError,
    Operation,
    QueryError,
    QueryErrorCategory,
    jobs,
    run,
    run_sync,
)
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_files import SqlFile
from tests.postgres.drivers.psycopg.targets import Target
from tests.postgres.job_queue import JOB_TYPE, MINUTE, JobQueue

SECRET = "s3cr3t-of-the-application"

EVERY_TARGET = pytest.mark.parametrize("target", Target)


def request(payload: str = SECRET) -> EnqueueRequest:
    return EnqueueRequest(JOB_TYPE, {"secret": payload})


def two_batches(*, is_second_known: bool = True) -> Operation[object]:
    """Return an operation of two statements, the second of which can be refused."""
    last = request() if is_second_known else EnqueueRequest("sms.send", None)
    return jobs.enqueue_jobs([*(request() for _ in range(1_000)), last])


@operation("tests.enqueue_then_read_enum")
def _enqueue_then_fail_in_the_database() -> Steps[None]:
    yield dataclasses.replace(next(jobs.enqueue_job(request()).begin()), is_only=False)
    yield Statement(sql=SqlFile("jobs", "lock_job"), document='{"job_id":"no uuid"}')


@EVERY_TARGET
async def test_a_result_is_committed_with_its_transaction(queue: JobQueue, target: Target) -> None:
    job_id = await target.run(queue.url, jobs.enqueue_job(request()))

    assert queue.job(job_id).status is JobStatus.PENDING


@EVERY_TARGET
@pytest.mark.parametrize(
    "make",
    [lambda: two_batches(is_second_known=False), _enqueue_then_fail_in_the_database],
    ids=["refused by a rule", "refused by the database"],
)
async def test_an_operation_that_fails_at_its_second_statement_leaves_nothing(
    queue: JobQueue, target: Target, make: Callable[[], Operation[object]]
) -> None:
    with pytest.raises(QueryError):
        await target.run(queue.url, make())

    assert queue.sql("SELECT FROM job_queue") == []


@pytest.mark.parametrize("is_batch", [False, True], ids=["one statement", "two statements"])
async def test_what_runs_in_the_callers_transaction_goes_with_its_rollback(queue: JobQueue, *, is_batch: bool) -> None:
    make = two_batches if is_batch else lambda: jobs.enqueue_job(request())

    async with await psycopg.AsyncConnection.connect(queue.url) as connection:
        await run(connection, make())
        await connection.rollback()
    with psycopg.connect(queue.url) as connection:
        run_sync(connection, make())
        connection.rollback()

    assert queue.sql("SELECT FROM job_queue") == queue.sql("SELECT FROM job_events") == []


async def test_what_runs_in_the_callers_transaction_is_seen_by_nobody_before_its_commit(queue: JobQueue) -> None:
    async with await psycopg.AsyncConnection.connect(queue.url) as connection:
        job_id = await run(connection, jobs.enqueue_job(request()))
        before = queue.sql("SELECT id FROM job_queue")
        await connection.commit()

    assert before == []
    assert queue.sql("SELECT id FROM job_queue") == [(job_id,)]


def test_a_refusal_by_a_rule_leaves_the_callers_transaction_usable(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        with pytest.raises(QueryError):
            run_sync(connection, jobs.enqueue_job(EnqueueRequest("sms.send", None)))
        job_id = run_sync(connection, jobs.enqueue_job(request()))

    assert queue.job(job_id).status is JobStatus.PENDING


async def test_an_autocommit_connection_without_a_transaction_is_refused(queue: JobQueue) -> None:
    async with await psycopg.AsyncConnection.connect(queue.url, autocommit=True) as connection:
        with pytest.raises(InvalidArgumentError, check=lambda error: "connection.transaction()" in error.remedy):
            await run(connection, jobs.enqueue_job(request()))
    with psycopg.connect(queue.url, autocommit=True) as connection, pytest.raises(InvalidArgumentError) as caught:
        run_sync(connection, jobs.enqueue_job(request()))

    assert caught.value.field == "connection"
    assert queue.sql("SELECT FROM job_queue") == []


async def test_an_autocommit_connection_inside_a_transaction_is_taken(queue: JobQueue) -> None:
    async with await psycopg.AsyncConnection.connect(queue.url, autocommit=True) as connection:
        async with connection.transaction():
            await run(connection, jobs.enqueue_job(request()))
        async with connection.transaction(force_rollback=True):
            await run(connection, jobs.enqueue_job(request()))
    with psycopg.connect(queue.url, autocommit=True) as connection:
        with connection.transaction():
            run_sync(connection, jobs.enqueue_job(request()))
        with connection.transaction(force_rollback=True):
            run_sync(connection, jobs.enqueue_job(request()))

    assert queue.sql("SELECT count(*) FROM job_queue") == [(2,)]


@pytest.mark.parametrize("target", [None, "postgresql://localhost", object()], ids=["None", "text", "object"])
async def test_another_target_is_refused(target: object) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "target"):
        await run(target, jobs.enqueue_job(request()))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "target"):
        run_sync(target, jobs.enqueue_job(request()))  # pyright: ignore[reportArgumentType]


async def test_a_connection_of_the_other_kind_is_refused(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as blocking, pytest.raises(InvalidArgumentError, match="AsyncConnection"):
        await run(blocking, jobs.enqueue_job(request()))  # pyright: ignore[reportArgumentType]
    async with await psycopg.AsyncConnection.connect(queue.url) as connection:
        with pytest.raises(InvalidArgumentError, match="ConnectionPool"):
            run_sync(connection, jobs.enqueue_job(request()))  # pyright: ignore[reportArgumentType]


def test_the_callers_row_factory_and_settings_do_not_matter(queue: JobQueue) -> None:
    queue.enqueue({"n": 1})
    connect = psycopg.Connection[dict[str, Any]].connect
    with connect(
        queue.url, row_factory=dict_row, prepare_threshold=None, options="-c TimeZone=Asia/Kathmandu -c DateStyle=SQL"
    ) as connection:
        (claimed,) = run_sync(connection, jobs.claim_jobs("worker-1", lease_ttl=MINUTE, limit=1))

    assert claimed.lease_expires_at - claimed.leased_at == MINUTE
    assert queue.job(claimed.job_id).lease_expires_at == claimed.lease_expires_at


class CountingConnection(psycopg.Connection[Any]):
    """Counts the transactions that are opened explicitly."""

    transactions = 0

    @contextmanager
    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> Generator[Transaction]:  # noqa: FBT001, FBT002 - as psycopg has it
        self.transactions += 1
        with super().transaction(savepoint_name, force_rollback) as transaction:
            yield transaction


@pytest.mark.parametrize(
    ("is_autocommit", "make", "transactions"),
    [
        (True, lambda: jobs.enqueue_job(request()), 0),
        (True, two_batches, 1),
        (False, lambda: jobs.enqueue_job(request()), 1),
    ],
    ids=["one statement in autocommit", "two statements in autocommit", "one statement without autocommit"],
)
def test_only_one_statement_in_autocommit_does_without_a_transaction(
    queue: JobQueue, *, is_autocommit: bool, make: Callable[[], Operation[object]], transactions: int
) -> None:
    pool = ConnectionPool(
        queue.url,
        min_size=1,
        max_size=1,
        connection_class=CountingConnection,
        kwargs={"autocommit": is_autocommit},
        open=False,
    )
    with pool:
        run_sync(pool, make())
        with pool.connection() as connection:
            assert connection.transactions == transactions

    assert queue.sql("SELECT count(*) > 0 FROM job_queue") == [(True,)]


@pytest.fixture(params=["unique", "check", "trigger"])
def refusing_queue(queue: JobQueue, request: pytest.FixtureRequest) -> JobQueue:
    """Let the database refuse the secret payload in a way whose message or detail shows it."""
    match request.param:
        case "unique":
            queue.sql("CREATE UNIQUE INDEX ON job_queue ((payload ->> 'secret'))")
            queue.enqueue({"secret": SECRET})
        case "check":
            queue.sql(f"ALTER TABLE job_queue ADD CHECK (payload ->> 'secret' <> '{SECRET}')")
        case _:
            queue.refuse("job_queue", "true", message=f"refused {SECRET}")
    return queue


@EVERY_TARGET
async def test_an_error_shows_nothing_that_came_from_the_database(refusing_queue: JobQueue, target: Target) -> None:
    """ERR-004, ERR-006."""
    with pytest.raises(QueryError) as caught:
        await target.run(refusing_queue.url, jobs.enqueue_job(request()))
    error = caught.value

    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error) + error.client_message
    assert SECRET not in shown
    assert "DETAIL" not in shown
    assert "Failing row" not in shown
    assert (error.__cause__, error.__context__) == (None, None)


@EVERY_TARGET
async def test_trusted_code_gets_the_original(refusing_queue: JobQueue, target: Target) -> None:
    """ERR-005, ERR-006."""
    with pytest.raises(QueryError) as caught:
        await target.run(refusing_queue.url, jobs.enqueue_job(request()))
    error = caught.value

    assert isinstance(error.source, psycopg.Error)
    assert error.internal_message == f"jobs.enqueue_job: {error.source.diag.message_primary}"
    assert error.sqlstate == error.source.sqlstate


def test_an_error_raised_while_another_is_handled_keeps_that_one_as_context(queue: JobQueue) -> None:
    """The context is the caller's own; only the driver's error stays out."""
    queue.refuse("job_queue", "true", message=SECRET)

    with psycopg.connect(queue.url) as connection:
        of_the_application = LookupError("of the application")
        try:
            raise of_the_application
        except LookupError:
            with pytest.raises(QueryError) as caught:
                run_sync(connection, jobs.enqueue_job(request()))

    assert caught.value.__context__ is of_the_application
    assert of_the_application.__context__ is None


def place_of(queue: JobQueue, schema: str) -> str:
    """Return schema, host, port and database as errors name them."""
    with psycopg.connect(queue.url) as connection:
        info = connection.info
        return f'schema "{schema}" at host {info.host}, port {info.port}, database {info.dbname}'


@EVERY_TARGET
@pytest.mark.parametrize("make", [lambda: jobs.enqueue_job(request()), two_batches], ids=["one statement", "two"])
async def test_a_missing_schema_is_named_with_its_database_and_the_remedy(
    queue: JobQueue, target: Target, make: Callable[[], Operation[object]]
) -> None:
    with pytest.raises(QueryError) as caught:
        await target.run(queue.url, make(), schema="elsewhere")

    assert (caught.value.code, caught.value.category) == ("schema.not_migrated", QueryErrorCategory.INTERNAL)
    assert caught.value.sqlstate == "42P01"
    assert str(caught.value).startswith(f"{place_of(queue, 'elsewhere')} has no tables of Runledger")
    assert "`runledger migrate` or `ledger.migrate()`" in str(caught.value)


@EVERY_TARGET
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE job_queue RENAME COLUMN stage TO phase",
        "ALTER TYPE job_status RENAME TO job_state",
        "DROP INDEX uq_job_queue_type_idempotency_global",
    ],
    ids=["column", "type", "unique index"],
)
async def test_tables_of_another_version_are_named_with_their_database_and_the_remedy(
    queue: JobQueue, target: Target, change: str
) -> None:
    queue.sql(change)
    operation: Operation[object] = jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None, idempotency_key="key"))
    if "TYPE" in change:
        operation = jobs.claim_jobs("worker-1", lease_ttl=MINUTE, limit=1)

    with pytest.raises(QueryError) as caught:
        await target.run(queue.url, operation)

    assert caught.value.code == "schema.incompatible"
    assert str(caught.value).startswith(f"the tables of {place_of(queue, 'runledger')} are not those of this version")


def test_a_table_that_a_trigger_of_the_application_misses_says_nothing_about_the_schema(queue: JobQueue) -> None:
    queue.sql("""
        CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS
        $function$ BEGIN UPDATE counters SET jobs = jobs + 1; RETURN NEW; END $function$""")
    queue.sql("CREATE TRIGGER count_jobs BEFORE INSERT ON job_queue FOR EACH ROW EXECUTE FUNCTION count_jobs()")

    with pytest.raises(QueryError) as caught:
        queue.run(jobs.enqueue_job(request()))

    assert (caught.value.sqlstate, caught.value.code) == ("42P01", "db.query_failed")


@pytest.mark.parametrize("make", [lambda: jobs.enqueue_job(request()), two_batches], ids=["one statement", "two"])
async def test_a_transaction_that_failed_before_is_told_with_the_remedy(
    queue: JobQueue, make: Callable[[], Operation[object]]
) -> None:
    with psycopg.connect(queue.url) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        with pytest.raises(QueryError, match="roll it back") as caught:
            run_sync(connection, make())
    async with await psycopg.AsyncConnection.connect(queue.url) as async_connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await async_connection.execute("SELECT 1/0")
        with pytest.raises(QueryError, match="roll it back") as caught_async:
            await run(async_connection, make())

    assert [caught.value.sqlstate, caught_async.value.sqlstate] == ["25P02"] * 2
    assert [caught.value.code, caught_async.value.code] == ["db.transaction_failed"] * 2


async def test_a_closed_connection_is_told_with_the_remedy(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        pass
    async with await psycopg.AsyncConnection.connect(queue.url) as async_connection:
        pass

    with pytest.raises(DatabaseConnectionError, match=r"connection: is closed; .* pass an open one") as caught:
        run_sync(connection, jobs.enqueue_job(request()))
    with pytest.raises(DatabaseConnectionError) as caught_async:
        await run(async_connection, jobs.enqueue_job(request()))

    assert [caught.value.code, caught_async.value.code] == ["db.connection_closed"] * 2


def test_a_connection_that_was_lost_before_the_call_is_not_taken_for_closed(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        queue.sql("SELECT pg_terminate_backend(%s, 5000)", connection.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

        with pytest.raises(DatabaseConnectionError, match="was lost before this call") as caught:
            run_sync(connection, jobs.enqueue_job(request()))

    assert caught.value.code == "db.connection_failed"


async def test_a_closed_pool_is_told_with_the_remedy(queue: JobQueue) -> None:
    never_opened = ConnectionPool(queue.url, open=False)
    async with AsyncConnectionPool(queue.url, min_size=1, open=False) as pool:
        pass

    with pytest.raises(DatabaseConnectionError, match="the pool of connections is closed") as caught:
        await run(pool, jobs.enqueue_job(request()))
    with pytest.raises(DatabaseConnectionError, match="open a pool of your own before") as caught_sync:
        run_sync(never_opened, jobs.enqueue_job(request()))

    assert [caught.value.code, caught_sync.value.code] == ["db.pool_closed"] * 2
    assert caught.value.__context__ is None


@pytest.mark.parametrize("target", [Target.ASYNC_OWN, Target.SYNC_OWN])
async def test_a_database_that_is_not_there_is_a_connection_error(queue: JobQueue, target: Target) -> None:
    url = make_conninfo(queue.url, dbname="missing", password=SECRET)

    with pytest.raises(DatabaseConnectionError) as caught:
        await target.run(url, jobs.enqueue_job(request()))

    assert isinstance(caught.value, ConnectionError)
    assert caught.value.code == "db.connection_failed"
    assert isinstance(caught.value.source, psycopg.OperationalError)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_lost_connection_is_a_connection_error(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        queue.sql("SELECT pg_terminate_backend(%s, 5000)", connection.info.backend_pid)

        with pytest.raises(DatabaseConnectionError) as caught:
            run_sync(connection, jobs.enqueue_job(request()))

    assert caught.value.code == "db.connection_failed"
    assert caught.value.__context__ is None


async def test_a_pool_without_free_connection_is_a_connection_error(queue: JobQueue) -> None:
    pool = AsyncConnectionPool(queue.url, min_size=1, max_size=1, open=False)
    async with pool, pool.connection():
        pool.timeout = 0.01
        with pytest.raises(DatabaseConnectionError):
            await run(pool, jobs.enqueue_job(request()))
    sync_pool = ConnectionPool(queue.url, min_size=1, max_size=1, open=False)
    with sync_pool, sync_pool.connection():
        sync_pool.timeout = 0.01
        with pytest.raises(DatabaseConnectionError):
            run_sync(sync_pool, jobs.enqueue_job(request()))


def test_a_wait_for_a_lock_that_the_server_ends_by_closing_the_session_is_a_connection_error(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    with psycopg.connect(queue.url) as holder:
        holder.execute("SELECT FROM runledger.job_queue FOR UPDATE")
        with psycopg.connect(queue.url, options="-c transaction_timeout=20ms") as waiter:
            lease = LeaseIdentity(job_id=job_id, run_number=1, attempt=1, worker_id="worker-1")

            with pytest.raises(DatabaseConnectionError):
                run_sync(waiter, jobs.heartbeat_job(lease, lease_ttl=timedelta(seconds=60)))


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_guarded_statement_that_fails_undoes_itself_alone(queue: JobQueue, *, is_blocking: bool) -> None:
    guarded = Statement(
        sql=SqlFile("jobs", "lock_job"), document=f'{{"job_id":"{uuid4()} is too long"}}', is_guarded=True
    )

    @operation("tests.guarded")
    def enqueue_around_a_failure() -> Steps[str]:
        yield dataclasses.replace(next(jobs.enqueue_job(request()).begin()), is_only=False)
        code = "none"
        try:
            yield guarded
        except QueryError as error:
            code = error.code
        yield dataclasses.replace(next(jobs.enqueue_job(request()).begin()), is_only=False)
        return code

    if is_blocking:
        with psycopg.connect(queue.url) as connection:
            code = run_sync(connection, enqueue_around_a_failure())
    else:
        async with await psycopg.AsyncConnection.connect(queue.url) as connection:
            code = await run(connection, enqueue_around_a_failure())

    assert code == "db.query_failed"
    assert queue.sql("SELECT count(*) FROM job_queue") == [(2,)]
