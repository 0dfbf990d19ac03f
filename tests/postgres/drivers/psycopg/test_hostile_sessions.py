"""What roles, databases and networks may do to a session must not stop Runledger's own connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from runledger.core import EnqueueRequest, InvalidArgumentError
from runledger.postgres import Database, DatabaseConnectionError, QueryError, jobs, run_sync
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER, JobQueue

REQUEST = EnqueueRequest(JOB_TYPE, {"text": "☃"})


def alter_database(queue: JobQueue, setting: str) -> None:
    name = queue.sql("SELECT quote_ident(current_database())")[0][0]
    queue.sql(f"ALTER DATABASE {name} {setting}")


@pytest.mark.parametrize(
    "setting",
    [
        "SET client_encoding = 'LATIN1'",
        "SET lock_timeout = '1ms'",
        "SET default_transaction_isolation = 'serializable'",
    ],
)
async def test_defaults_of_the_database_do_not_reach_our_sessions(queue: JobQueue, setting: str) -> None:
    alter_database(queue, setting)
    own = Database(queue.url).own_connection()

    job_id = await own.run(jobs.enqueue_job(REQUEST))
    claimed = await own.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=10))
    await own.close()

    assert [job.job_id for job in claimed] == [job_id]
    assert claimed[0].payload == {"text": "☃"}


async def test_a_statement_timeout_of_the_database_does_not_reach_our_sessions(queue: JobQueue) -> None:
    alter_database(queue, "SET statement_timeout = '200ms'")
    own = Database(queue.url).own_connection()
    with psycopg.connect(queue.url) as other:
        other.execute("SET statement_timeout = 0")
        other.execute("LOCK TABLE runledger.job_queue IN ACCESS EXCLUSIVE MODE")
        claim = asyncio.create_task(own.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1)))
        overdue = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query_start < clock_timestamp() - interval '250 ms'"
        )
        while not await asyncio.to_thread(queue.sql, overdue):
            assert not claim.done()

    assert await claim == []
    await own.close()


def test_an_operator_of_the_application_does_not_change_durations(queue: JobQueue) -> None:
    """A search path that finds public first must not shorten leases."""
    queue.sql(
        "CREATE FUNCTION public.no_time(bigint, interval) RETURNS interval LANGUAGE sql IMMUTABLE"
        " AS $$ SELECT interval '0' $$"
    )
    queue.sql("CREATE OPERATOR public.* (LEFTARG = bigint, RIGHTARG = interval, FUNCTION = public.no_time)")
    alter_database(queue, "SET search_path = public")
    own = Database(queue.url).own_sync_connection()
    job_id = own.run(jobs.enqueue_job(REQUEST))

    claimed = own.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1))[0]
    own.close()

    assert claimed.job_id == job_id
    assert claimed.lease_expires_at - claimed.leased_at == MINUTE


async def test_a_session_that_was_opened_read_only_is_replaced(queue: JobQueue) -> None:
    alter_database(queue, "SET default_transaction_read_only = on")
    own = Database(queue.url).own_connection()
    with pytest.raises(QueryError, check=lambda error: error.sqlstate == "25006"):
        await own.run(jobs.enqueue_job(REQUEST))

    # The session that changes it is read-only by default as well, unless it was opened before; this one was.
    alter_database(queue, "RESET default_transaction_read_only")

    assert await own.run(jobs.enqueue_job(REQUEST))
    await own.close()


async def test_a_plan_that_no_longer_fits_its_table_is_made_anew(queue: JobQueue) -> None:
    own = Database(queue.url).own_connection()
    claim = jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1)
    assert await own.run(claim) == []

    queue.sql("ALTER TABLE job_queue ALTER COLUMN timeout_seconds TYPE bigint")
    with contextlib.suppress(QueryError):  # PostgreSQL may refuse the cached plan once
        await own.run(claim)
    await own.run(jobs.enqueue_job(REQUEST))

    assert len(await own.run(claim)) == 1
    await own.close()


class SilentProxy:
    """Passes bytes to the server's socket until it is told to fall silent; connections stay open."""

    def __init__(self, server_socket: str) -> None:
        self._server_socket = server_socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.is_silent = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server_socket)
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.is_silent.is_set():
                    target.sendall(data)


@pytest.fixture
def proxy(queue: JobQueue) -> Iterator[SilentProxy]:
    parts = urlsplit(queue.url)
    query = parse_qs(parts.query)
    if "host" not in query:
        pytest.skip("the proxy speaks to the Unix socket of the embedded server")
    silent_proxy = SilentProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    yield silent_proxy
    silent_proxy.close()


def proxied(queue: JobQueue, proxy: SilentProxy) -> Database:
    with psycopg.connect(queue.url) as connection:
        parameters = connection.info
        return Database(
            f"host=127.0.0.1 port={proxy.port} user={parameters.user} dbname={parameters.dbname} sslmode=disable"
            " gssencmode=disable"
        )


async def test_a_connection_on_which_nobody_answers_counts_as_lost(queue: JobQueue, proxy: SilentProxy) -> None:
    own = proxied(queue, proxy).own_connection(answer_timeout_seconds=0.5)
    try:
        await own.open()
    except DatabaseConnectionError:
        pytest.skip("the server does not let this account in through a proxy")
    assert await own.run(jobs.enqueue_job(REQUEST))

    proxy.is_silent.set()
    with pytest.raises(DatabaseConnectionError):
        await own.run(jobs.enqueue_job(REQUEST))

    proxy.is_silent.clear()
    assert await own.run(jobs.enqueue_job(REQUEST))
    await own.close()


def test_a_blocked_thread_is_freed_from_outside(queue: JobQueue) -> None:
    own = Database(queue.url).own_sync_connection()
    own.open()
    failure: list[BaseException] = []
    with psycopg.connect(queue.url) as other:
        other.execute("LOCK TABLE runledger.job_queue IN ACCESS EXCLUSIVE MODE")

        def claim() -> None:
            try:
                own.run(jobs.claim_jobs(WORKER, lease_ttl=MINUTE, limit=1))
            except DatabaseConnectionError as error:
                failure.append(error)

        thread = threading.Thread(target=claim)
        thread.start()
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not queue.sql(waiting):
            assert thread.is_alive()
        own.abort()
        thread.join(timeout=10)

    assert len(failure) == 1
    own.close()


def test_a_caller_whose_encoding_cannot_carry_the_document_is_told(queue: JobQueue) -> None:
    with (
        psycopg.connect(queue.url, client_encoding="LATIN1") as connection,
        pytest.raises(InvalidArgumentError, match="client_encoding") as caught,
    ):
        run_sync(connection, jobs.enqueue_job(REQUEST))

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_pipeline_is_refused(queue: JobQueue) -> None:
    with (
        psycopg.connect(queue.url) as connection,
        connection.pipeline(),
        pytest.raises(InvalidArgumentError, match="pipeline"),
    ):
        run_sync(connection, jobs.enqueue_job(REQUEST))


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_batch_of_several_statements_leaves_nothing_when_the_caller_goes_on(
    queue: JobQueue, *, autocommit: bool
) -> None:
    """The caller catches the error of the third statement and commits."""
    requests = [EnqueueRequest(JOB_TYPE, None)] * 2_500 + [EnqueueRequest("unknown", None)]
    with psycopg.connect(queue.url, autocommit=autocommit) as connection:
        with connection.transaction() if autocommit else contextlib.nullcontext():
            with pytest.raises(QueryError, check=lambda error: error.code == "job.definition_not_found_or_disabled"):
                run_sync(connection, jobs.enqueue_jobs(requests))
            run_sync(connection, jobs.enqueue_jobs([REQUEST, REQUEST]))
        connection.commit()

    assert queue.sql("SELECT count(*) FROM job_queue") == [(2,)]


def test_a_batch_of_several_statements_is_the_callers_to_roll_back(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        run_sync(connection, jobs.enqueue_jobs([REQUEST] * 1_500))
        connection.rollback()

    assert queue.sql("SELECT count(*) FROM job_queue") == [(0,)]


def test_locked_expired_leases_do_not_hide_the_free_ones(queue: JobQueue) -> None:
    for _ in range(6):
        queue.enqueue()
    claimed = queue.claim(limit=6, lease_ttl=timedelta(seconds=10))
    later = queue.clock() + timedelta(hours=1)
    with psycopg.connect(queue.url) as other:
        other.execute("SELECT FROM runledger.job_queue ORDER BY lease_expires_at, id LIMIT 3 FOR UPDATE")
        result = queue.run(jobs.reap_expired_leases(limit=3, retry_delay=timedelta(), now=later))

    assert len(claimed) == 6
    assert result.processed_count == 3
