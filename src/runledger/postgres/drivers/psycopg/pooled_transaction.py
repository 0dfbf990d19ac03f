"""Transactions on connections of a pool, for asyncio and for blocking code."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.postgres.drivers.psycopg.block_end import check_still_open
from runledger.postgres.drivers.psycopg.errors import DRIVER_ERRORS, translate

_NAME = "ledger.transaction"


@asynccontextmanager
async def open_transaction(pool: AsyncConnectionPool[Any]) -> AsyncGenerator[psycopg.AsyncConnection[Any], None]:
    """Open a transaction on a connection of the pool: committed at the end of the block, rolled back by an error.

    Raises:
        DatabaseConnectionError: There was no connection. What fails in the block, or when it ends, comes as the driver
            raises it.
        psycopg.errors.InFailedSqlTransaction: The block ended well, but over a statement that had failed.
    """
    async with AsyncExitStack() as stack:
        connection = await _begun(stack, pool)
        yield connection
        check_still_open(connection)


@contextmanager
def open_sync_transaction(pool: ConnectionPool[Any]) -> Generator[psycopg.Connection[Any], None, None]:
    """The blocking form of :func:`open_transaction`."""
    with ExitStack() as stack:
        connection = _begun_sync(stack, pool)
        yield connection
        check_still_open(connection)


async def _begun(stack: AsyncExitStack, pool: AsyncConnectionPool[Any]) -> psycopg.AsyncConnection[Any]:
    try:
        connection = await stack.enter_async_context(pool.connection())
        await stack.enter_async_context(connection.transaction())
    except DRIVER_ERRORS as error:
        failure = error
    else:
        return connection
    raise translate(failure, _NAME)  # outside the except block, see sql_errors


def _begun_sync(stack: ExitStack, pool: ConnectionPool[Any]) -> psycopg.Connection[Any]:
    try:
        connection = stack.enter_context(pool.connection())
        stack.enter_context(connection.transaction())
    except DRIVER_ERRORS as error:
        failure = error
    else:
        return connection
    raise translate(failure, _NAME)
