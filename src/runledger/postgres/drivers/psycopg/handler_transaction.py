"""Transactions of an application's pool that end with an operation of Runledger, for asyncio and for threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.postgres.drivers.psycopg.async_runner import run_last
from runledger.postgres.drivers.psycopg.block_end import check_still_open
from runledger.postgres.drivers.psycopg.errors import DRIVER_ERRORS, is_connection_error, translate
from runledger.postgres.drivers.psycopg.own_connection import shut_down
from runledger.postgres.drivers.psycopg.sync_runner import run_sync_last
from runledger.postgres.operation import Operation
from runledger.postgres.sql_errors import COMMIT_UNCONFIRMED, DatabaseConnectionError

_NAME = "handler transaction"


@asynccontextmanager
async def transaction_ending_with(
    pool: AsyncConnectionPool[Any],
    last: Callable[[], Operation[object]],
    *,
    schema: str,
    answer_timeout_seconds: float,
    watch: Callable[[psycopg.AsyncConnection[Any] | None], None],
) -> AsyncGenerator[psycopg.AsyncConnection[Any], None]:
    """Open a transaction, run an operation as the last thing in it, and commit. An error in the block rolls back.

    Args:
        pool: The pool that gives the connection.
        last: Makes the operation when the block has ended well. What it raises rolls back.
        schema: The schema of Runledger's tables.
        answer_timeout_seconds: How long the server may take over the operation, and over COMMIT; then the connection
            counts as lost.
        watch: Called with the connection before anything is sent on it, and with ``None`` before it is returned.

    Raises:
        DatabaseConnectionError: There was no connection, or it was lost, be it under a statement of the block; nothing
            was written. With code ``db.transaction_commit_unconfirmed`` the answer to COMMIT was lost, and nobody
            knows.
        QueryError: The operation was refused; nothing was written.
    """
    connection = await _taken(pool)
    try:
        watch(connection)
        transaction = await _begun(connection)
        loss: DatabaseConnectionError | None
        try:
            yield connection
            check_still_open(connection)
            with _bounded(connection, answer_timeout_seconds):
                await run_last(connection, last(), schema=schema)
        except BaseException as error:
            if await transaction.__aexit__(type(error), error, error.__traceback__):
                return  # psycopg.Rollback: the block wanted nothing to be written
            loss = _loss(connection, error)
            if loss is None:
                raise
        else:
            with _bounded(connection, answer_timeout_seconds):
                await _commit(transaction)
            return
        raise loss
    finally:
        watch(None)
        await pool.putconn(connection)


@contextmanager
def sync_transaction_ending_with(
    pool: ConnectionPool[Any],
    last: Callable[[], Operation[object]],
    *,
    schema: str,
    watch: Callable[[psycopg.Connection[Any] | None], None],
) -> Generator[psycopg.Connection[Any], None, None]:
    """The blocking form of :func:`transaction_ending_with`.

    A thread waits for the server as long as it takes, or until somebody shuts the connection down.
    """
    connection = _taken_sync(pool)
    try:
        watch(connection)
        transaction = _begun_sync(connection)
        loss: DatabaseConnectionError | None
        try:
            yield connection
            check_still_open(connection)
            run_sync_last(connection, last(), schema=schema)
        except BaseException as error:
            if transaction.__exit__(type(error), error, error.__traceback__):
                return
            loss = _loss(connection, error)
            if loss is None:
                raise
        else:
            _commit_sync(transaction)
            return
        raise loss
    finally:
        watch(None)
        pool.putconn(connection)


def is_waiting_for_answer(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> bool:
    """Whether a statement was sent and its answer has not come."""
    return connection.info.transaction_status == TransactionStatus.ACTIVE


async def _taken(pool: AsyncConnectionPool[Any]) -> psycopg.AsyncConnection[Any]:
    error: RunledgerError
    try:
        connection = await pool.getconn()
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, _NAME)
    else:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            return connection
        await pool.putconn(connection)
        error = _not_idle()
    raise error


def _taken_sync(pool: ConnectionPool[Any]) -> psycopg.Connection[Any]:
    error: RunledgerError
    try:
        connection = pool.getconn()
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, _NAME)
    else:
        if connection.info.transaction_status == TransactionStatus.IDLE:
            return connection
        pool.putconn(connection)
        error = _not_idle()
    raise error


async def _begun(connection: psycopg.AsyncConnection[Any]) -> psycopg.AsyncTransaction:
    transaction = psycopg.AsyncTransaction(connection)
    try:
        return await transaction.__aenter__()
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, _NAME)
    raise error


def _begun_sync(connection: psycopg.Connection[Any]) -> psycopg.Transaction:
    transaction = psycopg.Transaction(connection)
    try:
        return transaction.__enter__()
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, _NAME)
    raise error


async def _commit(transaction: psycopg.AsyncTransaction) -> None:
    failure: psycopg.Error | None = None
    try:
        await transaction.__aexit__(None, None, None)
    except DRIVER_ERRORS as error:
        if not is_connection_error(error):
            raise  # refused, by a deferred constraint for example: the application's own error
        failure = error
    # On a connection that is broken already the driver sends no COMMIT and raises nothing.
    if failure is not None or transaction.status == transaction.Status.FAILED:
        raise _unconfirmed(failure)


def _commit_sync(transaction: psycopg.Transaction) -> None:
    failure: psycopg.Error | None = None
    try:
        transaction.__exit__(None, None, None)
    except DRIVER_ERRORS as error:
        if not is_connection_error(error):
            raise
        failure = error
    if failure is not None or transaction.status == transaction.Status.FAILED:
        raise _unconfirmed(failure)


@contextmanager
def _bounded(connection: psycopg.AsyncConnection[Any], seconds: float) -> Generator[None, None, None]:
    alarm = asyncio.get_running_loop().call_later(seconds, shut_down, connection)
    try:
        yield
    finally:
        alarm.cancel()


def _loss(
    connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any], error: BaseException
) -> DatabaseConnectionError | None:
    """Return the error of a block that ended because its connection did, and not one that it has to somewhere else.

    The driver raises it where the handler has its statement, or an operation of ours that it runs there.
    """
    if connection.closed and (
        isinstance(error, DatabaseConnectionError) or (isinstance(error, psycopg.Error) and is_connection_error(error))
    ):
        return DatabaseConnectionError(f"{_NAME}: the connection to PostgreSQL was lost in the block", source=error)
    return None


def _not_idle() -> InvalidArgumentError:
    return InvalidArgumentError(
        "pool", "hands out connections with an open transaction", "end it in the pool's `configure` or `check`"
    )


def _unconfirmed(source: psycopg.Error | None) -> DatabaseConnectionError:
    return DatabaseConnectionError(f"{_NAME}: the answer to COMMIT was lost", code=COMMIT_UNCONFIRMED, source=source)
