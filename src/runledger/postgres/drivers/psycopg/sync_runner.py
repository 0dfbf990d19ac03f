"""Run operations on blocking psycopg connections and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from runledger.postgres.compatibility import SchemaCompatibilityError
from runledger.postgres.drivers.psycopg.async_runner import check_open_transaction, unknown_target
from runledger.postgres.drivers.psycopg.errors import DRIVER_ERRORS, is_connection_error
from runledger.postgres.drivers.psycopg.execution import Execution
from runledger.postgres.operation import Operation, Rows, Statement, Steps
from runledger.postgres.schema_name import DEFAULT_SCHEMA
from runledger.postgres.sql_errors import ConstraintClassifier, QueryError, commit_unconfirmed

T = TypeVar("T")


def run_sync(
    target: psycopg.Connection[Any] | ConnectionPool[Any],
    operation: Operation[T],
    *,
    schema: str = DEFAULT_SCHEMA,
    classifier: ConstraintClassifier | None = None,
) -> T:
    """Execute an operation; the blocking form of :func:`runledger.postgres.run`."""
    execution = Execution(operation=operation, schema=schema, classifier=classifier)
    if isinstance(target, psycopg.Connection):
        check_open_transaction(target)
        return _translating(lambda: _run_inside(target, execution), execution)
    if isinstance(target, ConnectionPool):  # pyright: ignore[reportUnnecessaryIsInstance]
        return _translating(lambda: _run_on_pool(target, execution), execution)
    raise unknown_target(target, "a psycopg Connection or ConnectionPool")


def run_sync_on_own(connection: psycopg.Connection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation in a transaction of its own, on an autocommit connection that belongs to the caller."""
    execution = Execution(operation=operation, schema=schema)
    return _translating(lambda: _run_alone(connection, execution), execution)


def run_sync_last(connection: psycopg.Connection[Any], operation: Operation[T], *, schema: str) -> T:
    """Execute an operation as the last thing in an open transaction, which must be rolled back if it fails."""
    execution = Execution(operation=operation, schema=schema)
    return _translating(lambda: _run_last(connection, execution), execution)


def _translating(execute: Callable[[], T], execution: Execution[T]) -> T:
    failure: psycopg.Error | UnicodeError
    try:
        return execute()
    except SchemaCompatibilityError as error:
        error.locate(execution.place)  # the operation does not know where it runs
        raise
    except (*DRIVER_ERRORS, UnicodeError) as error:
        failure = error
    raise execution.error_of(failure)  # outside the except block: neither cause nor context carry PostgreSQL's texts


def _run_on_pool(pool: ConnectionPool[Any], execution: Execution[T]) -> T:
    lost: psycopg.Error
    try:
        return _run_on_pooled(pool, execution)
    except DRIVER_ERRORS as error:
        if not execution.is_unconfirmed_after(error):
            raise
        lost = error
    if execution.recovery is None:
        raise commit_unconfirmed(execution.operation.name, source=lost)
    return _recover(pool, execution.of_recovery(execution.recovery))


def _recover(pool: ConnectionPool[Any], recovery: Execution[T]) -> T:
    try:
        # Whatever ended one connection may have ended the others too.
        pool.check()
        return _run_on_pooled(pool, recovery)
    except DRIVER_ERRORS as error:
        failure = error
    raise commit_unconfirmed(recovery.operation.name, source=failure)


def _run_on_pooled(pool: ConnectionPool[Any], execution: Execution[T]) -> T:
    with pool.connection() as connection:
        return _run_alone(connection, execution)


def _run_alone(connection: psycopg.Connection[Any], execution: Execution[T]) -> T:
    steps = execution.operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if (first.is_only or first.is_first_part) and connection.autocommit:
        # It commits by itself. Only what has a recovery is known to write.
        execution.is_committing = first.recovery is not None
        return _drive_one_and_parts(connection, execution, steps, first)
    return _drive_parts(connection, execution, steps, first)


def _run_inside(connection: psycopg.Connection[Any], execution: Execution[T]) -> T:
    steps = execution.operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    if first.is_only:
        return _drive_without_savepoint(connection, execution, steps, first)
    # All or nothing here, whatever the parts: a caller that catches the error and commits must keep nothing. The
    # savepoint needs a transaction around it, which psycopg opens with the first statement of a connection without
    # autocommit.
    if connection.info.transaction_status == TransactionStatus.IDLE:
        connection.execute("SELECT", prepare=False)
    return _drive_in_savepoint(connection, execution, steps, first)


def _drive_one_and_parts(
    connection: psycopg.Connection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    """Run a first part that needs no transaction of its own, and the parts that may follow, which do."""
    end = _drive(connection, execution, steps, statement)
    execution.is_committing = False
    if isinstance(end, Statement):
        return _drive_parts(connection, execution, steps, end)
    return end


def _drive_without_savepoint(
    connection: psycopg.Connection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    """Run what needs none: a single statement, and what is read after one that had no effect."""
    while True:
        end = _drive(connection, execution, steps, statement)
        if not isinstance(end, Statement):
            return end
        statement = end


def _drive_in_savepoint(
    connection: psycopg.Connection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    """Run all parts in one savepoint; what an operation wants to keep of them is released before the next begins."""
    while True:
        with connection.transaction():
            end = _drive(connection, execution, steps, statement)
            while isinstance(end, Statement) and not end.keeps_parts:
                end = _drive(connection, execution, steps, end)
        if not isinstance(end, Statement):
            return end
        statement = end


def _drive_parts(
    connection: psycopg.Connection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T:
    while True:
        with connection.transaction():
            end = _drive(connection, execution, steps, statement)
            execution.is_committing = True
        execution.is_committing = False
        if not isinstance(end, Statement):
            return end
        statement = end


def _run_last(connection: psycopg.Connection[Any], execution: Execution[T]) -> T:
    steps = execution.operation.begin()
    try:
        first = next(steps)
    except StopIteration as stop:
        return stop.value
    return _drive_without_savepoint(connection, execution, steps, first)


def _drive(
    connection: psycopg.Connection[Any], execution: Execution[T], steps: Steps[T], statement: Statement
) -> T | Statement:
    """Run the operation to its end, or to the statement that opens its next part."""
    cursor = psycopg.RawCursor(connection, row_factory=dict_row)
    while True:
        execution.note(statement, connection)
        try:
            if statement.is_guarded:
                outcome = _execute_guarded(cursor, execution, statement)
            else:
                outcome = _execute(cursor, execution, statement)
            statement = steps.throw(outcome) if isinstance(outcome, QueryError) else steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        if statement.opens_part:
            return statement


def _execute(cursor: psycopg.RawCursor[Any], execution: Execution[Any], statement: Statement) -> Rows:
    parameters = None if statement.document is None else (statement.document,)
    cursor.execute(statement.sql.text(execution.schema).encode(), parameters, binary=True)
    return cursor.fetchall() if cursor.description is not None else []


def _execute_guarded(
    cursor: psycopg.RawCursor[Any], execution: Execution[Any], statement: Statement
) -> Rows | QueryError:
    failure: psycopg.Error
    try:
        with cursor.connection.transaction():
            return _execute(cursor, execution, statement)
    except DRIVER_ERRORS as error:
        if is_connection_error(error):
            raise
        failure = error
    return execution.query_error_of(failure)
