"""Refuse what is handed to a ledger in place of something else, at the call and by the name of the argument."""

from __future__ import annotations

from runledger.client.foreign_connections import way_to_psycopg
from runledger.core.catalog import CatalogDeclaration
from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.status import JobFailureKind
from runledger.core.scope import Organization
from runledger.postgres.drivers.psycopg import AsyncConnection, AsyncConnectionPool, ConnectionPool


def check_pool(pool: object, expected: type, *, connect: str) -> None:
    """Refuse what is no pool of the ledger's kind.

    Args:
        pool: The argument that was given.
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
        connection: The argument that was given.
        expected: The class of connections.

    Raises:
        InvalidArgumentError: It is something else, such as a URL or a pool.
    """
    if isinstance(connection, expected):
        return
    kind = type(connection)
    is_pool = isinstance(connection, AsyncConnectionPool | ConnectionPool)
    library = kind.__module__.partition(".")[0]
    if is_pool:
        remedy = "pass a connection of it: `pool.connection()` gives one"
    else:
        way = way_to_psycopg(connection, is_async=issubclass(expected, AsyncConnection))
        remedy = f"pass a psycopg {expected.__name__}{way}"
    # Many libraries have a class Connection.
    name = kind.__name__ if library == "builtins" else f"{kind.__module__}.{kind.__name__}"
    raise InvalidArgumentError("connection", f"is of type {name}", remedy)


def check_lease(lease: object) -> None:
    """Refuse what does not name a lease.

    Raises:
        InvalidArgumentError: It is something else, such as the claimed job or its id.
    """
    if not isinstance(lease, LeaseIdentity):
        raise InvalidArgumentError("lease", f"is of type {type(lease).__name__}", "pass `job.lease` of a claimed job")


def check_failure_kind(kind: object) -> None:
    """Refuse what is no kind of failure.

    Raises:
        InvalidArgumentError: It is something else, such as the text of one.
    """
    if not isinstance(kind, JobFailureKind):
        raise InvalidArgumentError("kind", f"is of type {type(kind).__name__}", "pass a JobFailureKind")


def check_catalog(catalog: object) -> None:
    """Refuse what declares nothing.

    Raises:
        InvalidArgumentError: It is something else, such as the name of a catalog, or the class.
    """
    if isinstance(catalog, CatalogDeclaration):
        return
    if isinstance(catalog, type) or not callable(getattr(catalog, "declaration", None)):
        problem = "is a class" if isinstance(catalog, type) else f"is of type {type(catalog).__name__}"
        raise InvalidArgumentError("catalog", problem, "pass a JobCatalog, or what its declaration() returns")


def check_organization(scope: object) -> None:
    """Refuse a scope that is not one organization.

    Raises:
        InvalidArgumentError: It is another scope, or none.
    """
    if not isinstance(scope, Organization):
        raise InvalidArgumentError("scope", f"is of type {type(scope).__name__}", "pass Organization(id)")
