"""Run operations on blocking psycopg connections and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.postgres.drivers.psycopg.async_runner import check_open_transaction, unknown_target
from runledger.postgres.drivers.psycopg.errors import DRIVER_ERRORS, translate
from runledger.postgres.operation import Operation, Rows, Statement, Steps
from runledger.postgres.schema_name import DEFAULT_SCHEMA
from runledger.postgres.sql_errors import QueryError

T = TypeVar("T")


def run_sync(
    target: psycopg.Connection[Any] | ConnectionPool[Any],
    operation: Operation[T],
    *,
    schema: str = DEFAULT_SCHEMA,
) -> T:
    """Execute an operation; the blocking form of :func:`runledger.postgres.run`."""
    if isinstance(target, psycopg.Connection):
        check_open_transaction(target)
        return _translating(lambda: _run_inside(target, operation, schema), operation)
    if isinstance(target, ConnectionPool):  # pyright: ignore[reportUnnecessaryIsInstance]
        return _translating(lambda: _run_on_pool(target, operation, schema), operation)
    raise unknown_target(target, "a psycopg Connection or ConnectionPool")


def run_sync_on_own(connection: psycopg.Connection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation in a transaction of its own, on an autocommit connection that belongs to the caller."""
    return _translating(lambda: _run_alone(connection, operation, schema), operation)


def run_sync_last(connection: psycopg.Connection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation as the last thing in an open transaction, which must be rolled back if it fails."""
    return _translating(lambda: _run_last(connection, operation, schema), operation)


def _translating(execute: Callable[[], T], operation: Operation[T]) -> T:
    error: RunledgerError
    try:
        return execute()
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, operation.name)
    except UnicodeError:
        error = InvalidArgumentError(
            "connection", "has a client encoding that cannot carry the document", "set client_encoding to UTF8"
        )
    raise error  # outside the except block: neither cause nor context may carry PostgreSQL's texts


def _run_on_pool(pool: ConnectionPool[Any], operation: Operation[T], schema: str) -> T:
    with pool.connection() as connection:
        return _run_alone(connection, operation, schema)


def _run_alone(connection: psycopg.Connection[Any], operation: Operation[T], schema: str) -> T:
    steps = operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if first.is_only and connection.autocommit:
        return _drive_one_part(connection, operation, steps, first, schema)
    return _drive_parts(connection, operation, steps, first, schema)


def _run_inside(connection: psycopg.Connection[Any], operation: Operation[T], schema: str) -> T:
    steps = operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if first.is_only:
        return _drive_one_part(connection, operation, steps, first, schema)
    # All or nothing here too: a caller that catches the error and commits must not keep a part. The savepoint needs a
    # transaction around it, which psycopg opens with the first statement of a connection without autocommit.
    if connection.info.transaction_status == TransactionStatus.IDLE:
        connection.execute("SELECT", prepare=False)
    return _drive_parts(connection, operation, steps, first, schema)


def _drive_one_part(
    connection: psycopg.Connection[Any],
    operation: Operation[T],
    steps: Steps[T],
    statement: Statement,
    schema: str,
) -> T:
    end = _drive(connection, operation, steps, statement, schema)
    assert not isinstance(end, Statement)  # noqa: S101 (such an operation has one part)
    return end


def _drive_parts(
    connection: psycopg.Connection[Any],
    operation: Operation[T],
    steps: Steps[T],
    statement: Statement,
    schema: str,
) -> T:
    while True:
        with connection.transaction():
            end = _drive(connection, operation, steps, statement, schema)
        if not isinstance(end, Statement):
            return end
        statement = end


def _run_last(connection: psycopg.Connection[Any], operation: Operation[T], schema: str) -> T:
    steps = operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    return _drive_one_part(connection, operation, steps, first, schema)


def _drive(
    connection: psycopg.Connection[Any],
    operation: Operation[T],
    steps: Steps[T],
    statement: Statement,
    schema: str,
) -> T | Statement:
    """Run the operation to its end, or to the statement that opens its next part."""
    cursor = psycopg.RawCursor(connection, row_factory=dict_row)
    while True:
        try:
            if statement.is_guarded:
                outcome = _execute_guarded(cursor, operation, statement, schema)
            else:
                outcome = _execute(cursor, statement, schema)
            statement = steps.throw(outcome) if isinstance(outcome, QueryError) else steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        if statement.opens_part:
            return statement


def _execute(cursor: psycopg.RawCursor[Any], statement: Statement, schema: str) -> Rows:
    parameters = None if statement.document is None else (statement.document,)
    cursor.execute(statement.sql.text(schema).encode(), parameters, binary=True)
    return cursor.fetchall() if cursor.description is not None else []


def _execute_guarded(
    cursor: psycopg.RawCursor[Any], operation: Operation[Any], statement: Statement, schema: str
) -> Rows | QueryError:
    try:
        with cursor.connection.transaction():
            return _execute(cursor, statement, schema)
    except DRIVER_ERRORS as driver_error:
        error = translate(driver_error, operation.name)
        if not isinstance(error, QueryError):
            raise
    return error
