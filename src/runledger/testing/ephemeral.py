"""A fresh, migrated database for each test."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
import weakref

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import DuplicateDatabase
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from runledger.testing.database_name import ephemeral_name, with_database
from runledger.testing.errors import EphemeralDatabaseError
from runledger.testing.server import DatabaseServer, database_server
from runledger.testing.template import ensure_template

_NUMBERS = itertools.count(1)
_DISCONNECT_SECONDS = 5
_POLL_SECONDS = 0.001
_END_CONNECTIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


class EphemeralDatabase:
    """A database that exists for one test.

    Drop it with `drop`, or with `teardown_ephemeral_pool`. A handle that is forgotten drops its database when
    it is collected, at the latest at the end of the process, as well as it can.

    Attributes:
        name: The name of the database on the server.
        url: The URL to connect to.
    """

    __slots__ = ("__weakref__", "_forgotten", "_server", "name", "url")

    def __init__(self, *, name: str, server: DatabaseServer) -> None:
        """Not for callers: use `create_ephemeral_database`."""
        self.name = name
        self.url = with_database(server.admin_url, name)
        self._server = server
        self._forgotten = weakref.finalize(self, _drop_forgotten, server, name, os.getpid())

    def drop(self) -> None:
        """Drop the database, even with connections to it, which are ended. Harmless when repeated."""
        if self._forgotten.detach() is not None:
            _drop(self._server, self.name)


def create_ephemeral_database(prefix: str) -> EphemeralDatabase:
    """Create a migrated database whose name starts with the cleaned prefix.

    It is a copy of a template that is migrated once, so this takes some milliseconds.

    Raises:
        EphemeralDatabaseError: There is no suitable server; see `runledger.testing.server`.
    """
    server = database_server()
    with server.connect() as admin:
        template = ensure_template(admin, server)
        create = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
        # Copying files takes 10 ms instead of 18, where the checkpoints that it needs write to no disk.
        strategy = Identifier("file_copy" if server.is_own else "wal_log")
        while True:
            name = ephemeral_name(prefix, process_id=os.getpid(), number=next(_NUMBERS))
            try:
                admin.execute(create.format(Identifier(name), Identifier(template), strategy))
            except DuplicateDatabase:
                continue  # Left by a process that had our number, or made by one in another container.
            return EphemeralDatabase(name=name, server=server)


async def setup_ephemeral_pool(
    prefix: str, max_connections: int
) -> tuple[AsyncConnectionPool[AsyncConnection[TupleRow]], EphemeralDatabase]:
    """Create a migrated database and an open pool of at most ``max_connections`` connections to it.

    End both with `teardown_ephemeral_pool`.

    Raises:
        EphemeralDatabaseError: There is no suitable server; see `runledger.testing.server`.
    """
    database = await asyncio.to_thread(create_ephemeral_database, prefix)
    try:
        return await _open_pool(database, max_connections), database
    except BaseException:
        await asyncio.to_thread(database.drop)
        raise


async def teardown_ephemeral_pool(
    pool: AsyncConnectionPool[AsyncConnection[TupleRow]], database: EphemeralDatabase
) -> None:
    """Close the pool, end whatever else is connected to the database, and drop it."""
    try:
        await pool.close()
    finally:
        await asyncio.to_thread(database.drop)


async def _open_pool(
    database: EphemeralDatabase, max_connections: int
) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
    # As an application's own: psycopg's defaults, so each block with a connection is a transaction.
    pool = AsyncConnectionPool[AsyncConnection[TupleRow]](
        database.url, min_size=1, max_size=max_connections, name=database.name, open=False
    )
    try:
        await pool.open(wait=True)
    except BaseException:
        await pool.close()
        raise
    return pool


def _drop_forgotten(server: DatabaseServer, name: str, maker: int) -> None:
    # Not in a forked child, whose parent still uses the database.
    if os.getpid() == maker:
        with contextlib.suppress(psycopg.Error, EphemeralDatabaseError):
            _drop(server, name)


def _drop(server: DatabaseServer, name: str) -> None:
    with server.connect() as admin:
        # DROP DATABASE looks for connections once in 100 ms, and even one that was just closed is there for a
        # moment.
        deadline = time.monotonic() + _DISCONNECT_SECONDS
        while admin.execute(_END_CONNECTIONS, [name]).fetchall() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
