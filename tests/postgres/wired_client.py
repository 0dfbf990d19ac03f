"""An application whose pool is behind a wire that can fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.postgres import Database, Operation, run, run_sync
from tests.wire import Wire

T = TypeVar("T")


class Client:
    """An application with a pool behind a wire, asyncio or blocking. Not made by tests: use `client_behind`."""

    def __init__(self, wire: Wire, pool: AsyncConnectionPool[Any] | ConnectionPool[Any]) -> None:
        self.wire = wire
        self._pool = pool

    async def run(self, operation: Operation[T]) -> T:
        if isinstance(self._pool, AsyncConnectionPool):
            return await run(self._pool, operation)
        return await asyncio.to_thread(run_sync, self._pool, operation)


@contextlib.asynccontextmanager
async def client_behind(wire: Wire, kind: str) -> AsyncGenerator[Client]:
    """Open a pool of two connections, ``asyncio`` or ``blocking``."""
    if kind == "asyncio":
        async with await Database(wire.url).open_pool(min_size=2, max_size=2) as pool:
            yield Client(wire, pool)
        return
    blocking = await asyncio.to_thread(Database(wire.url).open_sync_pool, min_size=2, max_size=2)
    try:
        yield Client(wire, blocking)
    finally:
        await asyncio.to_thread(blocking.close)
