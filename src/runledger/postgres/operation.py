"""Operations: what to do with the database, written once and run by any driver.

An operation is a generator. It yields statements, receives the rows of each, and returns a record::

    @operation("jobs.get_job")
    def get_job(job_id: UUID, *, scope: Scope) -> Steps[JobRecord | None]:
        rows = yield Statement(GET_JOB, document, is_only=True)
        return decode_job_record(rows[0]) if rows else None

The call builds an :class:`Operation` and touches nothing. ``run`` and ``run_sync`` of a driver execute it: on a pool
in a transaction of its own, on a connection inside the caller's open transaction. Nothing is written twice for
blocking and for asyncio use, and no operation knows a driver.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from runledger.postgres.sql_errors import ErrorClass
from runledger.postgres.sql_files import SqlText

Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Sequence[Row]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")

Steps: TypeAlias = Generator["Statement", Rows, T]
"""The generator of an operation: yields statements, receives rows, returns the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL text and the one JSON document it takes.

    Attributes:
        sql: The text, usually a file.
        document: JSON text, the ``$1``; ``None`` for a text without a parameter (a migration's).
        is_only: Whether the operation consists of this statement alone, but for parts that only read, to say why it had
            no effect. On a pool it then runs in autocommit, in one round trip, instead of between BEGIN and COMMIT; in
            a caller's transaction it needs no savepoint.
        is_first_part: Whether the first part of the operation consists of this statement alone. On a pool it runs as
            one that ``is_only``; in a caller's transaction the savepoint around all parts begins with it, and
            others may follow.
        is_guarded: Whether it runs inside a savepoint. A database error rolls back to it and is thrown into the
            generator as a :class:`~runledger.postgres.sql_errors.QueryError`, which may go on.
        recovery: What a pool runs on a new connection when the connection was lost while this, the last statement of
            the transaction, was being committed. Its result takes the place of the one that was lost.
        lock_conflict: How it is shown when a lock is not had in time (SQLSTATE 55P03), if not as any other error.
        opens_part: Begin another part of the operation with this statement. On a pool the part is a transaction of
            its own, after that of the parts before was committed; in a caller's transaction all are one savepoint.
        keeps_parts: With ``opens_part``: in a caller's transaction, too, an error from here on leaves what the parts
            before did.
    """

    sql: SqlText
    document: str | None = field(repr=False)
    is_only: bool = False
    is_first_part: bool = False
    is_guarded: bool = False
    recovery: Operation[Any] | None = field(default=None, repr=False)
    lock_conflict: ErrorClass | None = None
    opens_part: bool = False
    keeps_parts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[T_co]):
    """Something that a driver can run, any number of times.

    Attributes:
        name: Stable name, such as ``"jobs.claim_jobs"``; the context of errors and log records.
        begin: Makes the generator of one execution.
    """

    name: str
    begin: Callable[[], Steps[T_co]] = field(repr=False)


def operation(name: str) -> Callable[[Callable[P, Steps[T]]], Callable[P, Operation[T]]]:
    """Turn a generator function into a function that builds an operation with the same parameters."""

    def decorate(steps: Callable[P, Steps[T]]) -> Callable[P, Operation[T]]:
        @functools.wraps(steps)
        def build(*args: P.args, **kwargs: P.kwargs) -> Operation[T]:
            return Operation(name=name, begin=lambda: steps(*args, **kwargs))

        # What documentation and `inspect` show is the operation, not the generator inside.
        signature = inspect.signature(steps)
        shown = str(signature.return_annotation).replace("Steps", "Operation", 1)
        build.__signature__ = signature.replace(return_annotation=shown)  # pyright: ignore[reportAttributeAccessIssue]
        return build

    return decorate
