"""Connections that belong to Runledger itself: opened when needed, opened again after they were lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg

from runledger.postgres.drivers.psycopg.async_runner import run_on_own
from runledger.postgres.drivers.psycopg.connecting import ConnectionParameters, unreachable, uses_pooler
from runledger.postgres.drivers.psycopg.errors import speaks_of_session
from runledger.postgres.drivers.psycopg.sync_runner import run_sync_on_own
from runledger.postgres.operation import Operation
from runledger.postgres.sql_errors import QueryError

T = TypeVar("T")

_READ_BACKEND_PID = "SELECT pg_backend_pid()"
# What our sessions run with, wherever role or database have other defaults. Every statement that runs here finds its
# rows by an index: left to itself the server plans it for the tables of the moment and keeps that plan, and a worker
# that waits at an empty queue would read the tables from end to end when the first hundred thousand jobs arrive, until
# autovacuum comes by (docs/decisions/0017).
_SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "default_transaction_isolation": "read committed",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    # The operations here have nothing to think about between two statements. A client that is gone without a trace, its
    # host dead or its network cut, must not keep jobs locked: the server looks whether it is there, and ends a
    # transaction in which it says nothing.
    "idle_in_transaction_session_timeout": "15000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_SET_ALL = "SELECT set_config(key, value, false) FROM jsonb_each_text(%s::text::jsonb)"

_CANCEL_SECONDS = 1.0
_INT32_MAX = 2**31 - 1


class _PromptConnection(psycopg.AsyncConnection[Any]):
    """A connection on which nobody who is canceled waits for a server that is silent.

    The driver asks the server to cancel the statement and waits for its end, five seconds for each. What has not taken
    the first after one second is not there to do the second. The driver finds the connection cut off then, closes it,
    and lets the cancellation pass.
    """

    async def cancel_safe(self, *, timeout: float = _CANCEL_SECONDS) -> None:  # noqa: ASYNC109 (as the driver has it)
        """Ask the server to cancel the statement, or cut the connection off. Called by the driver, too."""
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):  # with a libpq before 17 the driver does not look at its own
                await super().cancel_safe(timeout=min(timeout, _CANCEL_SECONDS))
        except (psycopg.Error, OSError, TimeoutError):
            shut_down(self)


class AsyncOwnConnection:
    """An asyncio connection in autocommit mode that runs one operation at a time.

    After a connection error, and after an error that may come from the state of its session, the next ``run`` opens a
    new connection; nothing is repeated by itself.
    """

    def __init__(
        self, parameters: ConnectionParameters, *, schema: str, answer_timeout_seconds: float | None = None
    ) -> None:
        self._parameters = parameters
        self._schema = schema
        self._answer_timeout_seconds = answer_timeout_seconds
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> None:
        """Connect now.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        await self._connected()

    async def run(self, operation: Operation[T]) -> T:
        """Execute an operation in a transaction of its own.

        Raises:
            QueryError: The database or a rule refused it; nothing was written, except where the operation has several
                transactions, as a migration has: those before it are committed.
            DatabaseConnectionError: PostgreSQL cannot be reached, or the connection was lost on the way.
        """
        connection = await self._connected()
        alarm = None
        if self._answer_timeout_seconds is not None:
            # The socket is shut down rather than the call canceled: canceling waits for an answer as well.
            alarm = asyncio.get_running_loop().call_later(self._answer_timeout_seconds, shut_down, connection)
        is_usable = True
        try:
            return await run_on_own(connection, operation, schema=self._schema)
        except QueryError as error:
            is_usable = not speaks_of_session(error.sqlstate)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
            if connection.closed or connection.broken or not is_usable:
                await self.close()

    async def close(self) -> None:
        """Close the connection; a later ``run`` opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            failure: psycopg.Error | None = None
            try:
                async with asyncio.timeout(self._answer_timeout_seconds):
                    self._connection = await _connect(self._parameters, self._answer_timeout_seconds)
            except psycopg.Error as error:
                failure = error
            except TimeoutError:
                failure = psycopg.errors.ConnectionTimeout("no answer in time")
            if failure is not None:
                raise unreachable(self._parameters, failure)
        assert self._connection is not None  # noqa: S101 (set above)
        return self._connection


class SyncOwnConnection:
    """The blocking form of :class:`AsyncOwnConnection`, for threads."""

    def __init__(
        self, parameters: ConnectionParameters, *, schema: str, statement_timeout_ms: int | None = None
    ) -> None:
        self._parameters = parameters
        self._schema = schema
        self._statement_timeout_seconds = None if statement_timeout_ms is None else statement_timeout_ms / 1000
        self._connection: psycopg.Connection[Any] | None = None

    def open(self) -> None:
        """Connect now.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        self._connected()

    def run(self, operation: Operation[T]) -> T:
        """Execute an operation in a transaction of its own.

        Raises:
            QueryError: The database or a rule refused it; nothing was written, except where the operation has several
                transactions, as a migration has: those before it are committed.
            DatabaseConnectionError: PostgreSQL cannot be reached, or the connection was lost on the way.
        """
        connection = self._connected()
        is_usable = True
        try:
            return run_sync_on_own(connection, operation, schema=self._schema)
        except QueryError as error:
            is_usable = not speaks_of_session(error.sqlstate)
            raise
        finally:
            if connection.closed or connection.broken or not is_usable:
                self.close()

    def abort(self) -> None:
        """Break the connection from another thread: a blocked :meth:`run` fails with ``DatabaseConnectionError``."""
        connection = self._connection
        if connection is not None:
            shut_down(connection)

    def close(self) -> None:
        """Close the connection; a later ``run`` opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            failure: psycopg.Error | None = None
            try:
                self._connection = _connect_sync(self._parameters, self._statement_timeout_seconds)
            except psycopg.Error as error:
                failure = error
            if failure is not None:
                raise unreachable(self._parameters, failure)
        assert self._connection is not None  # noqa: S101 (set above)
        return self._connection


async def configure(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Prepare a new autocommit connection for use, and tell whether it reaches the server without a pooler.

    Prepared statements stay on only where they are safe.
    """
    # Not prepared: a pooler's server connection would keep it under a name that another client takes for its own.
    cursor = await connection.execute(_READ_BACKEND_PID, prepare=False)
    row = await cursor.fetchone()
    if row is not None and uses_pooler(connection, row[0]):
        connection.prepare_threshold = None
        return False
    return True


def configure_sync(connection: psycopg.Connection[Any]) -> bool:
    """Prepare a new autocommit connection for use, and tell whether it reaches the server without a pooler.

    Prepared statements stay on only where they are safe.
    """
    row = connection.execute(_READ_BACKEND_PID, prepare=False).fetchone()
    if row is not None and uses_pooler(connection, row[0]):
        connection.prepare_threshold = None
        return False
    return True


async def _connect(
    parameters: ConnectionParameters, statement_timeout_seconds: float | None
) -> psycopg.AsyncConnection[Any]:
    connection, _ = await connect_configured(parameters, statement_timeout_seconds)
    return connection


async def connect_configured(
    parameters: ConnectionParameters, statement_timeout_seconds: float | None
) -> tuple[psycopg.AsyncConnection[Any], bool]:
    """Open a connection with our settings, and tell whether it reaches the server without a pooler."""
    connection = await _PromptConnection.connect(autocommit=True, **parameters)
    try:
        connection.prepare_threshold = 0  # few statements, run often: prepare each at its first use
        # A session setting would leak to other clients of a pooler's server connection.
        is_direct = await configure(connection)
        if is_direct:
            await connection.execute(_SET_ALL, [_settings(statement_timeout_seconds)])
    except BaseException:
        await connection.close()
        raise
    return connection, is_direct


def _connect_sync(parameters: ConnectionParameters, statement_timeout_seconds: float | None) -> psycopg.Connection[Any]:
    connection, _ = connect_sync_configured(parameters, statement_timeout_seconds)
    return connection


def connect_sync_configured(
    parameters: ConnectionParameters, statement_timeout_seconds: float | None
) -> tuple[psycopg.Connection[Any], bool]:
    """Open a connection with our settings, and tell whether it reaches the server without a pooler."""
    connection = psycopg.Connection.connect(autocommit=True, **parameters)
    try:
        connection.prepare_threshold = 0
        # A session setting would leak to other clients of a pooler's server connection.
        is_direct = configure_sync(connection)
        if is_direct:
            connection.execute(_SET_ALL, [_settings(statement_timeout_seconds)])
    except BaseException:
        connection.close()
        raise
    return connection, is_direct


def _settings(statement_timeout_seconds: float | None) -> str:
    timeout_ms = 0 if statement_timeout_seconds is None else min(int(statement_timeout_seconds * 1000), _INT32_MAX)
    return json.dumps(_SETTINGS | {"statement_timeout": str(timeout_ms)})


def shut_down(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """End both directions of the socket, so that whoever waits for an answer sees the end of the connection."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
