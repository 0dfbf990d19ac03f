"""Refuse what is handed to a ledger in place of a pool or a connection, at the call and by the name of the argument."""

from __future__ import annotations

from runledger.core.errors import InvalidArgumentError
from runledger.postgres.drivers.psycopg import AsyncConnectionPool, ConnectionPool


def check_pool(pool: object, expected: type, *, connect: str) -> None:
    """Refuse what is no pool of the ledger's kind.

    Args:
        pool: What was given.
        expected: The class of pools.
        connect: The call that takes a URL.

    Raises:
        InvalidArgumentError: It is something else, such as a URL.
    """
    if isinstance(pool, expected):
        return
    remedy = f"open the ledger with {connect}" if isinstance(pool, str) else f"pass an open {expected.__name__}"
    raise InvalidArgumentError("pool", f"is of type {type(pool).__name__}", remedy)


def check_connection(connection: object, expected: type) -> None:
    """Refuse what is no connection of the ledger's kind.

    A pool would be one for the database, and the call would commit on its own: not what ``connection=`` promises.

    Args:
        connection: What was given.
        expected: The class of connections.

    Raises:
        InvalidArgumentError: It is something else, such as a URL or a pool.
    """
    if isinstance(connection, expected):
        return
    is_pool = isinstance(connection, AsyncConnectionPool | ConnectionPool)
    remedy = (
        "pass a connection of it: `pool.connection()` gives one" if is_pool else f"pass a psycopg {expected.__name__}"
    )
    raise InvalidArgumentError("connection", f"is of type {type(connection).__name__}", remedy)
