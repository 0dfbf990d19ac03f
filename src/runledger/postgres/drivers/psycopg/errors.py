"""From psycopg's exceptions to Runledger's."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from runledger.core.errors import RunledgerError
from runledger.postgres.sql_errors import (
    LOCK_NOT_AVAILABLE,
    ConstraintClassifier,
    DatabaseConnectionError,
    ErrorClass,
    QueryError,
    classify,
    schema_class,
)

DRIVER_ERRORS = (psycopg.Error, PoolClosed, PoolTimeout, TooManyRequests)
"""What the runners catch. The pool's errors are OperationalErrors too; named, so that this stays true."""

_POOL_TIMEOUT = "db.pool_timeout"
_POOL_CLOSED = "db.pool_closed"

_CONNECTION_SQLSTATE_PREFIX = "08"
# Transaction state, prepared statements, unsupported features (a cached plan that no longer fits), login, privileges,
# missing objects.
_SESSION_CLASSES = ("0A", "25", "26", "28", "42")
# The server ends this session: admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
# idle_session_timeout, idle_in_transaction_session_timeout, transaction_timeout, and too_many_connections at connect.
_CONNECTION_SQLSTATES = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04", "53300"})


def translate(
    error: psycopg.Error,
    operation_name: str,
    classifier: ConstraintClassifier | None = None,
    *,
    place: str | None = None,
    lock_conflict: ErrorClass | None = None,
) -> RunledgerError:
    """Return Runledger's form of a driver error.

    Call and raise it outside the except block: neither the error nor one of the classifier may carry the driver's as
    its context (see sql_errors). The arguments are those of :func:`query_error`.
    """
    if isinstance(error, PoolTimeout | TooManyRequests):
        # The pool does not tell a server that is away from connections that are all in use. Its text has the time.
        return DatabaseConnectionError(
            f"{operation_name}: the pool gave no connection ({error}): all are in use, or no new one can be opened; "
            "enlarge the pool, or let fewer work at once",
            code=_POOL_TIMEOUT,
            source=error,
        )
    if isinstance(error, PoolClosed):
        return DatabaseConnectionError(
            f"{operation_name}: the pool of connections is closed; call before the ledger or the pool is closed, and "
            "open a pool of your own before the first call",
            code=_POOL_CLOSED,
            source=error,
        )
    if is_connection_error(error):
        return DatabaseConnectionError(
            f"{operation_name}: the connection to PostgreSQL failed or was lost", source=error
        )
    return query_error(error, operation_name, classifier, place=place, lock_conflict=lock_conflict)


def query_error(
    error: psycopg.Error,
    operation_name: str,
    classifier: ConstraintClassifier | None = None,
    *,
    place: str | None = None,
    lock_conflict: ErrorClass | None = None,
) -> QueryError:
    """Return Runledger's form of the error of a statement; the same holds as for :func:`translate`.

    Args:
        error: The driver's error.
        operation_name: The operation that the statement belongs to.
        classifier: The application's map from constraints to errors.
        place: The schema and the database, if the statement is one of Runledger's.
        lock_conflict: How a lock that was not had in time is shown, if the statement says so.
    """
    shown = classify(error.sqlstate, error.diag.constraint_name, classifier)
    # An error with a context comes from a function, such as a trigger that the application put on a table.
    if place is not None and error.diag.context is None:
        shown = schema_class(error.sqlstate, place) or shown
    if lock_conflict is not None and error.sqlstate == LOCK_NOT_AVAILABLE:
        shown = lock_conflict
    return QueryError(
        category=shown.category,
        code=shown.code,
        client_message=shown.client_message,
        internal_message=f"{operation_name}: {error.diag.message_primary or error}",
        sqlstate=error.sqlstate,
        constraint=error.diag.constraint_name,
        source=error,
    )


def speaks_of_session(sqlstate: str | None) -> bool:
    """Whether an error may come from the state of its session, so that a new one may do better.

    A session keeps what it was opened with (read-only, role, settings) and plans of tables that have changed since.
    """
    return sqlstate is not None and sqlstate.startswith(_SESSION_CLASSES)


def is_connection_error(error: psycopg.Error) -> bool:
    """Whether the session is gone, as opposed to a statement that failed."""
    if error.sqlstate is None:
        # Errors of the driver itself: OperationalError and InterfaceError speak of the connection; the others, such
        # as DataError, of what was sent.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_CONNECTION_SQLSTATE_PREFIX) or error.sqlstate in _CONNECTION_SQLSTATES
