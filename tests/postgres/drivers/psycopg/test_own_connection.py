"""Runledger's own connections: opened when needed, opened again after a loss, closed for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import psycopg
import pytest

from runledger.core import EnqueueRequest, JobStatus, LeaseIdentity
from runledger.postgres import Database, DatabaseConnectionError, Operation, QueryError, jobs
from runledger.postgres.drivers.psycopg import own_connection
from runledger.postgres.drivers.psycopg.own_connection import AsyncOwnConnection, SyncOwnConnection
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.plain_text import execute_text

REQUEST = EnqueueRequest(JOB_TYPE, None)
NAME = "own-connection-under-test"

T = TypeVar("T")

Own = AsyncOwnConnection | SyncOwnConnection


class Either:
    """Drives a connection of either kind."""

    def __init__(self, own: Own) -> None:
        self._own = own

    async def open(self) -> None:
        if isinstance(self._own, AsyncOwnConnection):
            await self._own.open()
        else:
            self._own.open()

    async def run(self, operation: Operation[T]) -> T:
        return await self._own.run(operation) if isinstance(self._own, AsyncOwnConnection) else self._own.run(operation)

    async def enqueue(self, request: EnqueueRequest = REQUEST) -> object:
        return await self.run(jobs.enqueue_job(request))

    async def close(self) -> None:
        if isinstance(self._own, AsyncOwnConnection):
            await self._own.close()
        else:
            self._own.close()


@pytest.fixture(params=["async", "sync"])
async def own(queue: JobQueue, request: pytest.FixtureRequest) -> AsyncIterator[Either]:
    database = Database(queue.url)
    if request.param == "async":
        either = Either(database.own_connection(application_name=NAME))
    else:
        either = Either(database.own_sync_connection(application_name=NAME))
    yield either
    await either.close()


def sessions(queue: JobQueue) -> list[int]:
    rows = queue.sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()", NAME
    )
    return [pid for (pid,) in rows]


async def test_it_connects_when_it_is_first_used(queue: JobQueue, own: Either) -> None:
    assert sessions(queue) == []

    await own.enqueue()

    assert len(sessions(queue)) == 1


async def test_it_keeps_its_session(queue: JobQueue, own: Either) -> None:
    await own.open()
    before = sessions(queue)

    await own.enqueue()
    with pytest.raises(QueryError):
        await own.enqueue(EnqueueRequest("sms.send", None))
    await own.open()

    assert sessions(queue) == before


async def test_after_a_loss_the_next_use_connects_again_and_nothing_is_repeated(queue: JobQueue, own: Either) -> None:
    await own.open()
    (lost,) = sessions(queue)
    queue.sql("SELECT pg_terminate_backend(%s, 5000)", lost)

    with pytest.raises(DatabaseConnectionError):
        await own.enqueue()

    assert queue.sql("SELECT FROM job_queue") == []
    await own.enqueue()
    assert sessions(queue) != [lost]
    assert queue.sql("SELECT status::text FROM job_queue") == [(JobStatus.PENDING.value,)]


async def test_a_closed_one_ends_its_session_and_opens_a_new_one_when_used(queue: JobQueue, own: Either) -> None:
    await own.enqueue()
    (first,) = sessions(queue)

    await own.close()
    await own.close()
    queue.sql("SELECT pg_terminate_backend(%s, 5000)", first)  # returns when it is gone
    assert sessions(queue) == []

    await own.enqueue()
    assert len(sessions(queue)) == 1


SETTINGS = "SELECT current_setting('enable_seqscan') AS seqscan, current_setting('enable_bitmapscan') AS bitmapscan"
PREPARED = "SELECT count(*) AS count FROM pg_prepared_statements"


async def test_it_finds_rows_by_index_and_prepares_its_statements(own: Either) -> None:
    await own.enqueue()

    assert await own.run(execute_text(SETTINGS)) == [{"seqscan": "off", "bitmapscan": "off"}]
    assert (await own.run(execute_text(PREPARED)))[0]["count"] > 0


async def test_behind_a_pooler_it_sets_and_prepares_nothing_that_the_next_client_would_meet(
    own: Either, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_connection, "uses_pooler", lambda _connection, _process_id: True)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]

    await own.enqueue()

    assert await own.run(execute_text(SETTINGS)) == [{"seqscan": "on", "bitmapscan": "on"}]
    assert await own.run(execute_text(PREPARED)) == [{"count": 0}]


def test_a_statement_timeout_holds_for_the_session(queue: JobQueue) -> None:
    lease = LeaseIdentity(job_id=queue.enqueue(), run_number=1, attempt=1, worker_id="worker-1")
    with Database(queue.url).own_sync_connection(statement_timeout_ms=20) as own, psycopg.connect(queue.url) as holder:
        holder.execute("SELECT FROM runledger.job_queue FOR UPDATE")

        with pytest.raises(QueryError) as caught:
            own.run(jobs.complete_job(jobs.JobSuccess(lease=lease)))

    assert caught.value.sqlstate == "57014"
