"""One execution of an operation: what both runners need to know of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import psycopg

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.postgres.drivers.psycopg.connecting import describe_server
from runledger.postgres.drivers.psycopg.errors import is_connection_error, query_error, translate
from runledger.postgres.operation import Operation, Statement
from runledger.postgres.sql_errors import ConstraintClassifier, ErrorClass, QueryError

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Execution(Generic[T]):
    """An operation on its way, and how far it is.

    Attributes:
        operation: The operation to execute.
        schema: The schema of Runledger's tables.
        classifier: The application's map from constraints to errors.
        recovery: What settles a commit that was not confirmed; that of the statement sent last.
        lock_conflict: How a lock that the last statement did not get in time is shown.
        is_committing: Whether the answer that is awaited may be that of a commit.
        connection: The connection that got the last statement.
    """

    operation: Operation[T]
    schema: str
    classifier: ConstraintClassifier | None = None
    recovery: Operation[T] | None = field(default=None, init=False)
    lock_conflict: ErrorClass | None = field(default=None, init=False)
    is_committing: bool = field(default=False, init=False)
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any] | None = field(default=None, init=False)

    def note(self, statement: Statement, connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
        """Note that a statement is about to be sent."""
        self.recovery = statement.recovery
        self.lock_conflict = statement.lock_conflict
        self.connection = connection

    @property
    def place(self) -> str:
        """The schema and, while the connection is open, the database; safe to show."""
        schema = f'schema "{self.schema}"'
        if self.connection is not None:
            with contextlib.suppress(psycopg.Error):  # it is closed and does not know any more
                info = self.connection.info
                server = describe_server({"host": info.host, "port": info.port, "dbname": info.dbname})
                return f"{schema} at {server}"
        return schema

    def is_unconfirmed_after(self, error: psycopg.Error) -> bool:
        """Whether it was committed cannot be told, since the connection was lost while that was asked for."""
        return self.is_committing and is_connection_error(error)

    def error_of(self, failure: psycopg.Error | UnicodeError) -> RunledgerError:
        """Return Runledger's form of what went wrong. Call and raise it outside the except block (see sql_errors)."""
        if isinstance(failure, UnicodeError):
            return InvalidArgumentError(
                "connection", "has a client encoding that cannot carry the document", "set client_encoding to UTF8"
            )
        return translate(
            failure, self.operation.name, self.classifier, place=self.place, lock_conflict=self.lock_conflict
        )

    def query_error_of(self, failure: psycopg.Error) -> QueryError:
        """Return Runledger's form of the error of a statement; the same holds as for :meth:`error_of`."""
        return query_error(
            failure, self.operation.name, self.classifier, place=self.place, lock_conflict=self.lock_conflict
        )

    def of_recovery(self, recovery: Operation[Any]) -> Execution[Any]:
        """Return the execution of the recovery, in the same place."""
        return Execution(operation=recovery, schema=self.schema, classifier=self.classifier)
