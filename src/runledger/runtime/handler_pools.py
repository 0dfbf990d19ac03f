"""The connections that handlers write with: the application's pool, or one of the worker's own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, TypeAlias

from runledger.core.errors import ConfigError
from runledger.postgres import Database
from runledger.postgres.drivers.psycopg import AsyncConnectionPool, ConnectionPool

_CLOSE_SECONDS = 1.0

HandlerPool: TypeAlias = AsyncConnectionPool[Any] | ConnectionPool[Any]
"""A pool for ``async`` handlers, or one for handlers in threads."""


class HandlerPools:
    """Gives each kind of handler the pool that fits it.

    A kind for which the application gave no pool gets one of the worker's own, opened when the first handler asks.

    Args:
        database: Where the jobs are, and what own pools connect to.
        given: The application's pool, open, of the same database. It stays the application's to close.
        max_size: Connections of a pool of our own at most.

    Raises:
        ConfigError: ``given`` is no pool.
    """

    def __init__(self, database: Database, given: HandlerPool | None, *, max_size: int) -> None:
        if given is not None and not isinstance(given, AsyncConnectionPool | ConnectionPool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"pool is of type {type(given).__name__}; pass a psycopg_pool.AsyncConnectionPool for async handlers, "
                "a ConnectionPool for handlers in threads, or none"
            )
        self.database = database
        self._max_size = max_size
        self._given_async = given if isinstance(given, AsyncConnectionPool) else None
        self._given_sync = given if isinstance(given, ConnectionPool) else None
        self._own_async: AsyncConnectionPool[Any] | None = None
        self._own_sync: ConnectionPool[Any] | None = None
        self._opening_async = asyncio.Lock()
        self._opening_sync = threading.Lock()

    async def for_async(self) -> AsyncConnectionPool[Any]:
        """Return the pool of ``async`` handlers.

        Raises:
            DatabaseConnectionError: It is one of our own, and PostgreSQL cannot be reached.
        """
        if self._given_async is not None:
            return self._given_async
        async with self._opening_async:
            if self._own_async is None:
                self._own_async = await self.database.open_pool(min_size=1, max_size=self._max_size)
            return self._own_async

    def for_threads(self) -> ConnectionPool[Any]:
        """Return the pool of handlers in threads.

        Raises:
            DatabaseConnectionError: It is one of our own, and PostgreSQL cannot be reached.
        """
        if self._given_sync is not None:
            return self._given_sync
        with self._opening_sync:
            if self._own_sync is None:
                self._own_sync = self.database.open_sync_pool(min_size=1, max_size=self._max_size)
            return self._own_sync

    async def close(self) -> None:
        """Close our own pools. A handler that still has a connection keeps it until it is done."""
        if self._own_async is not None:
            await self._own_async.close(timeout=_CLOSE_SECONDS)
        if self._own_sync is not None:
            self._own_sync.close(timeout=_CLOSE_SECONDS)
