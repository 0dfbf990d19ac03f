"""Run operations on asyncio psycopg connections and pools."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.postgres.drivers.psycopg.errors import DRIVER_ERRORS, translate
from runledger.postgres.operation import Operation, Rows, Statement, Steps
from runledger.postgres.schema_name import DEFAULT_SCHEMA
from runledger.postgres.sql_errors import QueryError

T = TypeVar("T")


async def run(
    target: psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any],
    operation: Operation[T],
    *,
    schema: str = DEFAULT_SCHEMA,
) -> T:
    """Execute an operation.

    Args:
        target: A pool gives the operation a transaction of its own. A connection is the caller's open transaction:
            the operation becomes part of it and is neither committed nor rolled back here.
        operation: What to do.
        schema: The schema of Runledger's tables.

    Raises:
        QueryError: The database or a rule refused it. On a pool nothing was written.
        DatabaseConnectionError: PostgreSQL cannot be reached, or the connection was lost.
        InvalidArgumentError: The connection is in autocommit mode without an open transaction.
    """
    if isinstance(target, psycopg.AsyncConnection):
        check_open_transaction(target)
        return await _translating(_run_inside(target, operation, schema), operation)
    if isinstance(target, AsyncConnectionPool):  # pyright: ignore[reportUnnecessaryIsInstance]
        return await _translating(_run_on_pool(target, operation, schema), operation)
    raise unknown_target(target, "a psycopg AsyncConnection or AsyncConnectionPool")


async def run_on_own(connection: psycopg.AsyncConnection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation in a transaction of its own, on an autocommit connection that belongs to the caller."""
    return await _translating(_run_alone(connection, operation, schema), operation)


async def run_last(connection: psycopg.AsyncConnection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation as the last thing in an open transaction, which must be rolled back if it fails."""
    return await _translating(_run_last(connection, operation, schema), operation)


def check_open_transaction(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Refuse a connection whose every statement would commit by itself, or whose answers come later.

    Raises:
        InvalidArgumentError: It is in autocommit mode and no transaction is open, or in pipeline mode.
    """
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise InvalidArgumentError("connection", "is in pipeline mode", "call outside the pipeline block")
    if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
        raise InvalidArgumentError(
            "connection",
            "is in autocommit mode and has no open transaction, so nothing could be atomic",
            "open one with `connection.transaction()` around the call",
        )


def unknown_target(target: object, expected: str) -> InvalidArgumentError:
    """Return the error of a target that is neither a connection nor a pool of this runner."""
    return InvalidArgumentError("target", f"is of type {type(target).__name__}", f"pass {expected}")


async def _translating(execution: Any, operation: Operation[T]) -> T:  # noqa: ANN401 (a coroutine of T)
    error: RunledgerError
    try:
        return await execution
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, operation.name)
    except UnicodeError:
        error = InvalidArgumentError(
            "connection", "has a client encoding that cannot carry the document", "set client_encoding to UTF8"
        )
    raise error  # outside the except block: neither cause nor context may carry PostgreSQL's texts


async def _run_on_pool(pool: AsyncConnectionPool[Any], operation: Operation[T], schema: str) -> T:
    async with pool.connection() as connection:
        return await _run_alone(connection, operation, schema)


async def _run_alone(connection: psycopg.AsyncConnection[Any], operation: Operation[T], schema: str) -> T:
    steps = operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if first.is_only and connection.autocommit:
        return await _drive_one_part(connection, operation, steps, first, schema)
    return await _drive_parts(connection, operation, steps, first, schema)


async def _run_inside(connection: psycopg.AsyncConnection[Any], operation: Operation[T], schema: str) -> T:
    steps = operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if first.is_only:
        return await _drive_one_part(connection, operation, steps, first, schema)
    # All or nothing here too: a caller that catches the error and commits must not keep a part. The savepoint needs a
    # transaction around it, which psycopg opens with the first statement of a connection without autocommit.
    if connection.info.transaction_status == TransactionStatus.IDLE:
        await connection.execute("SELECT", prepare=False)
    return await _drive_parts(connection, operation, steps, first, schema)


async def _drive_one_part(
    connection: psycopg.AsyncConnection[Any],
    operation: Operation[T],
    steps: Steps[T],
    statement: Statement,
    schema: str,
) -> T:
    end = await _drive(connection, operation, steps, statement, schema)
    assert not isinstance(end, Statement)  # noqa: S101 (such an operation has one part)
    return end


async def _drive_parts(
    connection: psycopg.AsyncConnection[Any],
    operation: Operation[T],
    steps: Steps[T],
    statement: Statement,
    schema: str,
) -> T:
    while True:
        async with connection.transaction():
            end = await _drive(connection, operation, steps, statement, schema)
        if not isinstance(end, Statement):
            return end
        statement = end


async def _run_last(connection: psycopg.AsyncConnection[Any], operation: Operation[T], schema: str) -> T:
    steps = operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    return await _drive_one_part(connection, operation, steps, first, schema)


async def _drive(
    connection: psycopg.AsyncConnection[Any],
    operation: Operation[T],
    steps: Steps[T],
    statement: Statement,
    schema: str,
) -> T | Statement:
    """Run the operation to its end, or to the statement that opens its next part."""
    cursor = psycopg.AsyncRawCursor(connection, row_factory=dict_row)
    while True:
        try:
            if statement.is_guarded:
                outcome = await _execute_guarded(cursor, operation, statement, schema)
            else:
                outcome = await _execute(cursor, statement, schema)
            statement = steps.throw(outcome) if isinstance(outcome, QueryError) else steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        if statement.opens_part:
            return statement


async def _execute(cursor: psycopg.AsyncRawCursor[Any], statement: Statement, schema: str) -> Rows:
    parameters = None if statement.document is None else (statement.document,)
    await cursor.execute(statement.sql.text(schema).encode(), parameters, binary=True)
    return await cursor.fetchall() if cursor.description is not None else []


async def _execute_guarded(
    cursor: psycopg.AsyncRawCursor[Any], operation: Operation[Any], statement: Statement, schema: str
) -> Rows | QueryError:
    try:
        async with cursor.connection.transaction():
            return await _execute(cursor, statement, schema)
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, operation.name)
        if not isinstance(error, QueryError):
            raise
    return error
