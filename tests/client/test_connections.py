"""Whose connection a call uses, and what happens when there is none."""

from __future__ import annotations

import asyncio
import traceback

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger import Ledger, SyncLedger
from runledger.core import InvalidArgumentError, JobDefinition
from runledger.postgres import DatabaseConnectionError, QueryError
from runledger.testing import EphemeralDatabase
from tests.client.conftest import TYPE
from tests.observer import Observer

DEFINITION = JobDefinition(job_type=TYPE)
UNREACHABLE = "postgresql://somebody:hunter2@127.0.0.1:1/shop?connect_timeout=2"


async def count_jobs(observer: Observer) -> int:
    return await observer.value("SELECT count(*) FROM runledger.job_queue")


# The caller's connection -------------------------------------------------------------------------------------------


@pytest.fixture
def url(runledger_database: EphemeralDatabase) -> str:
    """The address of a database that knows one job type."""
    with SyncLedger.connect(runledger_database.url) as ledger:
        ledger.ensure_job_definitions([DEFINITION])
    return runledger_database.url


async def test_a_call_becomes_part_of_the_callers_transaction(url: str, observer: Observer) -> None:
    async with await Ledger.connect(url) as own, await psycopg.AsyncConnection.connect(url) as connection:
        await own.enqueue(TYPE, connection=connection)
        await connection.rollback()
        assert await count_jobs(observer) == 0
        await own.enqueue(TYPE, connection=connection)
        assert await count_jobs(observer) == 0
        await connection.commit()

    assert await count_jobs(observer) == 1


async def test_a_blocking_call_becomes_part_of_the_callers_transaction(url: str, observer: Observer) -> None:

    def enqueue_twice() -> None:
        with SyncLedger.connect(url) as own, psycopg.connect(url) as connection:
            own.enqueue(TYPE, connection=connection)
            connection.rollback()
            own.enqueue(TYPE, connection=connection)

    await asyncio.to_thread(enqueue_twice)

    assert await count_jobs(observer) == 1


async def test_an_idle_connection_in_autocommit_mode_is_refused(ledger: Ledger, url: str, observer: Observer) -> None:
    """Every statement would commit by itself, so nothing of what the caller expects would hold."""
    assert ledger
    async with (
        await Ledger.connect(url) as own,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        with pytest.raises(InvalidArgumentError, match="autocommit") as caught:
            await own.enqueue(TYPE, connection=connection)
        assert caught.value.field == "connection"
        assert await count_jobs(observer) == 0

        async with connection.transaction():
            await own.enqueue(TYPE, connection=connection)
    assert await count_jobs(observer) == 1


def test_an_idle_blocking_connection_in_autocommit_mode_is_refused(url: str) -> None:
    with (
        SyncLedger.connect(url) as ledger,
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(InvalidArgumentError, match="autocommit"),
    ):
        ledger.enqueue(TYPE, connection=connection)


async def test_a_connection_of_the_wrong_kind_is_refused(url: str) -> None:
    async with await Ledger.connect(url) as ledger:
        with (
            psycopg.connect(url) as connection,
            pytest.raises(InvalidArgumentError, match="AsyncConnection"),
        ):
            await ledger.enqueue(TYPE, connection=connection)  # pyright: ignore[reportArgumentType]


# The application's pool ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocommit", [False, True])
async def test_a_pool_of_the_application_is_used_and_left_open(
    runledger_database: EphemeralDatabase,
    observer: Observer,
    autocommit: bool,  # noqa: FBT001 - parametrized
) -> None:
    kwargs = {"autocommit": autocommit}
    async with AsyncConnectionPool(runledger_database.url, kwargs=kwargs, min_size=1, open=False) as pool:
        async with Ledger(pool) as ledger:
            await ledger.ensure_job_definitions([DEFINITION])
            await ledger.enqueue(TYPE)
            async with ledger.transaction() as connection:
                await ledger.enqueue(TYPE, connection=connection)
        assert not pool.closed

    assert await count_jobs(observer) == 2


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_blocking_pool_of_the_application_is_used_and_left_open(
    runledger_database: EphemeralDatabase,
    autocommit: bool,  # noqa: FBT001 - parametrized
) -> None:
    kwargs = {"autocommit": autocommit}
    with ConnectionPool(runledger_database.url, kwargs=kwargs, min_size=1, open=False) as pool:
        with SyncLedger(pool) as ledger:
            ledger.ensure_job_definitions([DEFINITION])
            job_id = ledger.enqueue(TYPE)
        assert not pool.closed
        assert SyncLedger(pool).get_job(job_id) is not None


async def test_a_closed_ledger_says_that_there_is_no_connection(runledger_database: EphemeralDatabase) -> None:
    async with await Ledger.connect(runledger_database.url) as ledger:
        pass

    with pytest.raises(DatabaseConnectionError):
        await ledger.enqueue(TYPE)


# No connection -------------------------------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    """Everything that a log with a traceback would show."""
    return "".join(traceback.format_exception(error)) + repr(error)


async def test_an_unreachable_database_is_named_without_the_password() -> None:
    with pytest.raises(DatabaseConnectionError) as caught:
        await Ledger.connect(UNREACHABLE)

    for known in ("127.0.0.1", "port 1", "shop"):
        assert known in str(caught.value)
    for secret in ("hunter2", "somebody"):
        assert secret not in shown(caught.value)
    assert caught.value.source is not None


def test_an_unreachable_database_is_named_without_the_password_by_the_blocking_ledger() -> None:
    with pytest.raises(DatabaseConnectionError, match=r"host 127\.0\.0\.1, port 1, database shop") as caught:
        SyncLedger.connect(UNREACHABLE)

    assert "hunter2" not in shown(caught.value)


def test_the_reason_of_a_refused_connection_is_told(runledger_database: EphemeralDatabase) -> None:
    with pytest.raises(DatabaseConnectionError, match="nothing listens there"):
        SyncLedger.connect(UNREACHABLE)
    with pytest.raises(DatabaseConnectionError, match="database nowhere: there is no such database"):
        SyncLedger.connect(make_conninfo(runledger_database.url, dbname="nowhere"))
    stranger = make_conninfo(runledger_database.url, user="hunter2")
    with pytest.raises(DatabaseConnectionError, match="the login was refused") as caught:
        SyncLedger.connect(stranger)
    assert "hunter2" not in shown(caught.value)


@pytest.mark.parametrize("url", ["postgresql://somebody:hunter2@[broken", "host=a password=hunter2 colour=red"])
async def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    for connect in (Ledger.connect, SyncLedger.connect):
        with pytest.raises(InvalidArgumentError) as caught:
            await connect(url)  # pyright: ignore[reportGeneralTypeIssues] - the blocking one raises before that
        assert caught.value.field == "database_url"
        assert "hunter2" not in shown(caught.value)


async def test_a_database_that_was_never_migrated_says_so(runledger_database: EphemeralDatabase) -> None:
    async with await Ledger.connect(runledger_database.url, schema="elsewhere") as ledger:
        with pytest.raises(QueryError, match=r'schema "elsewhere" at host .*`ledger\.migrate') as caught:
            await ledger.enqueue(TYPE)

    assert caught.value.code == "schema.not_migrated"


async def test_an_impossible_schema_is_refused_before_connecting() -> None:
    with pytest.raises(InvalidArgumentError):
        await Ledger.connect(UNREACHABLE, schema="")
