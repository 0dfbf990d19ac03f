"""The blocking ledger behind the interface of the asyncio one, so that one test drives both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from psycopg import AsyncConnection, Connection

from runledger.client import SyncLedger


class AwaitedLedger:
    """A `SyncLedger` whose methods are awaited; each runs in a thread, one at a time."""

    def __init__(self, ledger: SyncLedger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._ledger, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection[Any]]:
        transaction = self._ledger.transaction()
        connection = await asyncio.to_thread(transaction.__enter__)
        try:
            yield connection
        except BaseException as error:
            await asyncio.to_thread(transaction.__exit__, type(error), error, error.__traceback__)
            raise
        await asyncio.to_thread(transaction.__exit__, None, None, None)


async def execute(connection: AsyncConnection[Any] | Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    """Run a statement of the application on a connection of either kind, and return its rows."""
    if isinstance(connection, AsyncConnection):
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []
    blocking = await asyncio.to_thread(connection.execute, statement.encode())
    return blocking.fetchall() if blocking.description else []
