"""Run operations on asyncio psycopg connections and pools."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from runledger.core.errors import InvalidArgumentError
from runledger.postgres.compatibility import SchemaCompatibilityError
from runledger.postgres.drivers.psycopg.errors import DRIVER_ERRORS, is_connection_error
from runledger.postgres.drivers.psycopg.execution import Execution
from runledger.postgres.operation import Operation, Rows, Statement, Steps
from runledger.postgres.schema_name import DEFAULT_SCHEMA
from runledger.postgres.sql_errors import (
    ConstraintClassifier,
    DatabaseConnectionError,
    QueryError,
    commit_unconfirmed,
)

T = TypeVar("T")


async def run(
    target: psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any],
    operation: Operation[T],
    *,
    schema: str = DEFAULT_SCHEMA,
    classifier: ConstraintClassifier | None = None,
) -> T:
    """Execute an operation.

    Args:
        target: A pool gives the operation a transaction of its own. A connection is the caller's open transaction:
            the operation becomes part of it and is neither committed nor rolled back here.
        operation: The operation to execute.
        schema: The schema of Runledger's tables.
        classifier: Says how violations of the application's own constraints are shown; see :class:`ErrorClass`.

    Raises:
        QueryError: The database or a rule refused it. On a pool nothing was written, except where the operation has
            several transactions, as a migration has: those before it are committed.
        DatabaseConnectionError: PostgreSQL cannot be reached, or the connection was lost. On a pool nothing was
            written then, unless the code is ``db.transaction_commit_unconfirmed``.
        InvalidArgumentError: The connection is in autocommit mode without an open transaction.
    """
    execution = Execution(operation=operation, schema=schema, classifier=classifier)
    if isinstance(target, psycopg.AsyncConnection):
        check_open_transaction(target)
        return await _translating(_run_inside(target, execution), execution)
    if isinstance(target, AsyncConnectionPool):  # pyright: ignore[reportUnnecessaryIsInstance]
        return await _translating(_run_on_pool(target, execution), execution)
    raise unknown_target(target, "a psycopg AsyncConnection or AsyncConnectionPool")


async def run_on_own(connection: psycopg.AsyncConnection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation in a transaction of its own, on an autocommit connection that belongs to the caller."""
    execution = Execution(operation=operation, schema=schema)
    return await _translating(_run_alone(connection, execution), execution)


async def run_last(connection: psycopg.AsyncConnection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation as the last thing in an open transaction, which must be rolled back if it fails."""
    execution = Execution(operation=operation, schema=schema)
    return await _translating(_run_last(connection, execution), execution)


def check_open_transaction(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Refuse a connection that is closed, whose every statement would commit by itself, or whose answers come later.

    Raises:
        DatabaseConnectionError: It was closed, or is known to be lost.
        InvalidArgumentError: It is in autocommit mode and no transaction is open, or in pipeline mode.
    """
    if connection.broken:
        raise DatabaseConnectionError(
            "connection: was lost before this call; everything in its transaction is rolled back, open another one"
        )
    if connection.closed:
        raise DatabaseConnectionError(
            "connection: is closed; call inside the block that opened it, or pass an open one",
            code="db.connection_closed",
        )
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise InvalidArgumentError("connection", "is in pipeline mode", "call outside the pipeline block")
    if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
        raise InvalidArgumentError(
            "connection",
            "is in autocommit mode and has no open transaction: none was begun, or its block has ended",
            "call inside the block of `ledger.transaction()` that gave it, or put `connection.transaction()` around "
            "the call on a connection of your own",
        )


def unknown_target(target: object, expected: str) -> InvalidArgumentError:
    """Return the error of a target that is neither a connection nor a pool of this runner."""
    return InvalidArgumentError("target", f"is of type {type(target).__name__}", f"pass {expected}")


async def _translating(execute: Awaitable[T], execution: Execution[T]) -> T:
    failure: psycopg.Error | UnicodeError
    try:
        return await execute
    except SchemaCompatibilityError as error:
        error.locate(execution.place)  # the operation does not know where it runs
        raise
    except (*DRIVER_ERRORS, UnicodeError) as error:
        failure = error
    raise execution.error_of(failure)  # outside the except block: neither cause nor context carry PostgreSQL's texts


async def _run_on_pool(pool: AsyncConnectionPool[Any], execution: Execution[T]) -> T:
    lost: psycopg.Error
    try:
        return await _run_on_pooled(pool, execution)
    except DRIVER_ERRORS as error:
        if not execution.is_unconfirmed_after(error):
            raise
        lost = error
    if execution.recovery is None:
        raise commit_unconfirmed(execution.operation.name, source=lost)
    return await _recover(pool, execution.of_recovery(execution.recovery))


async def _recover(pool: AsyncConnectionPool[Any], recovery: Execution[T]) -> T:
    try:
        # Whatever ended one connection may have ended the others too.
        await pool.check()
        return await _run_on_pooled(pool, recovery)
    except DRIVER_ERRORS as error:
        failure = error
    raise commit_unconfirmed(recovery.operation.name, source=failure)


async def _run_on_pooled(pool: AsyncConnectionPool[Any], execution: Execution[T]) -> T:
    async with pool.connection() as connection:
        return await _run_alone(connection, execution)


async def _run_alone(connection: psycopg.AsyncConnection[Any], execution: Execution[T]) -> T:
    steps = execution.operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if (first.is_only or first.is_first_part) and connection.autocommit:
        # It commits by itself. Only what has a recovery is known to write.
        execution.is_committing = first.recovery is not None
        return await _drive_one_and_parts(connection, execution, steps, first)
    return await _drive_parts(connection, execution, steps, first)


async def _run_inside(connection: psycopg.AsyncConnection[Any], execution: Execution[T]) -> T:
    steps = execution.operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if first.is_only:
        return await _drive_without_savepoint(connection, execution, steps, first)
    # All or nothing here, whatever the parts: a caller that catches the error and commits must keep nothing. The
    # savepoint needs a transaction around it, which psycopg opens with the first statement of a connection without
    # autocommit.
    if connection.info.transaction_status == TransactionStatus.IDLE:
        await connection.execute("SELECT", prepare=False)
    return await _drive_in_savepoint(connection, execution, steps, first)


async def _drive_one_and_parts(
    connection: psycopg.AsyncConnection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    """Run a first part that needs no transaction of its own, and the parts that may follow, which do."""
    end = await _drive(connection, execution, steps, statement)
    execution.is_committing = False
    if isinstance(end, Statement):
        return await _drive_parts(connection, execution, steps, end)
    return end


async def _drive_without_savepoint(
    connection: psycopg.AsyncConnection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    """Run what needs none: a single statement, and what is read after one that had no effect."""
    while True:
        end = await _drive(connection, execution, steps, statement)
        if not isinstance(end, Statement):
            return end
        statement = end


async def _drive_in_savepoint(
    connection: psycopg.AsyncConnection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    """Run all parts in one savepoint; what an operation wants to keep of them is released before the next begins."""
    while True:
        async with connection.transaction():
            end = await _drive(connection, execution, steps, statement)
            while isinstance(end, Statement) and not end.keeps_parts:
                end = await _drive(connection, execution, steps, end)
        if not isinstance(end, Statement):
            return end
        statement = end


async def _drive_parts(
    connection: psycopg.AsyncConnection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    while True:
        async with connection.transaction():
            end = await _drive(connection, execution, steps, statement)
            execution.is_committing = True
        execution.is_committing = False
        if not isinstance(end, Statement):
            return end
        statement = end


async def _run_last(connection: psycopg.AsyncConnection[Any], execution: Execution[T]) -> T:
    steps = execution.operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    return await _drive_without_savepoint(connection, execution, steps, first)


async def _drive(
    connection: psycopg.AsyncConnection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T | Statement:
    """Run the operation to its end, or to the statement that opens its next part."""
    cursor = psycopg.AsyncRawCursor(connection, row_factory=dict_row)
    while True:
        execution.note(statement, connection)
        try:
            if statement.is_guarded:
                outcome = await _execute_guarded(cursor, execution, statement)
            else:
                outcome = await _execute(cursor, execution, statement)
            statement = steps.throw(outcome) if isinstance(outcome, QueryError) else steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        if statement.opens_part:
            return statement


async def _execute(cursor: psycopg.AsyncRawCursor[Any], execution: Execution[Any], statement: Statement) -> Rows:
    parameters = None if statement.document is None else (statement.document,)
    await cursor.execute(statement.sql.text(execution.schema).encode(), parameters, binary=True)
    return await cursor.fetchall() if cursor.description is not None else []


async def _execute_guarded(
    cursor: psycopg.AsyncRawCursor[Any], execution: Execution[Any], statement: Statement
) -> Rows | QueryError:
    failure: psycopg.Error
    try:
        async with cursor.connection.transaction():
            return await _execute(cursor, execution, statement)
    except DRIVER_ERRORS as error:
        if is_connection_error(error):
            raise
        failure = error
    return execution.query_error_of(failure)
