"""Hearing that runs have ended, for asyncio and for blocking code. What is heard is a hint: waiters look as well."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.postgres import Database
from runledger.postgres.drivers.psycopg.listening_connection import ListeningConnection, SyncListeningConnection

POLL_SECONDS = 1.0
"""How often a waiter looks for itself."""

# The connection stays open for whoever waits again, and is tried again after so long when it is lost.
_LINGER_SECONDS = 5.0
_RECONNECT_SECONDS = 5.0


class Ending(Protocol):
    """Tells one waiter that its run may have ended."""

    async def wait(self, seconds: float) -> None:
        """Wait until it may have, for so long at most."""
        ...


class _Ending:
    def __init__(self) -> None:
        self._is_told = asyncio.Event()

    def tell(self) -> None:
        self._is_told.set()

    async def wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_told.wait()
        self._is_told.clear()


class RunWatch:
    """Listens on one connection for all who wait, while anybody does.

    Args:
        database: Where the runs are; ``None`` where only a pool knows, so that nothing can be heard.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._waiting: dict[UUID, set[_Ending]] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = asyncio.Event()

    @asynccontextmanager
    async def watching(self, run_id: UUID) -> AsyncGenerator[Ending]:
        """Listen for the end of a run in the block; what is committed before it begins is not told."""
        ending = _Ending()
        self._waiting.setdefault(run_id, set()).add(ending)
        self._is_wanted.set()
        if self._database is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._listen(self._database.run_listening_connection()))
        try:
            yield ending
        finally:
            self._waiting[run_id].discard(ending)
            if not self._waiting[run_id]:
                del self._waiting[run_id]
            if not self._waiting:
                self._is_wanted.clear()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _listen(self, connection: ListeningConnection) -> None:
        try:
            while self._waiting:
                try:
                    if not await connection.open():
                        return  # behind a pooler nothing is ever heard
                    self._tell_all()  # what ended before
                    await self._hear(connection)
                except RunledgerError:
                    await asyncio.sleep(_RECONNECT_SECONDS)
                finally:
                    await connection.close()
        finally:
            await connection.close()

    async def _hear(self, connection: ListeningConnection) -> None:
        """Pass on what is heard, until nobody has waited for a while."""
        hearing = asyncio.create_task(self._pass_on(connection))
        try:
            while not hearing.done():
                await asyncio.wait([hearing], timeout=_LINGER_SECONDS)
                if not self._is_wanted.is_set():
                    return
            hearing.result()
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])

    async def _pass_on(self, connection: ListeningConnection) -> None:
        while True:
            for payload in await connection.hear():
                with contextlib.suppress(ValueError):  # the text may be anybody's
                    for ending in self._waiting.get(UUID(payload), ()):
                        ending.tell()

    def _tell_all(self) -> None:
        for endings in self._waiting.values():
            for ending in endings:
                ending.tell()


class SyncEnding:
    """The blocking form of :class:`Ending`: hears on a connection of its own.

    Args:
        connection: Where to hear; ``None`` where nothing can be heard.
        run_id: The run.
    """

    def __init__(self, connection: SyncListeningConnection | None, run_id: UUID) -> None:
        self._connection = connection
        self._run_id = str(run_id)

    def wait(self, seconds: float) -> None:
        """Wait until the run may have ended, for so long at most."""
        give_up_at = time.monotonic() + seconds
        while (left := give_up_at - time.monotonic()) > 0:
            if self._connection is None:
                time.sleep(left)
                return
            try:
                if self._run_id in self._connection.hear(left):
                    return
            except RunledgerError:
                self._connection = None  # what is lost is not opened again: the run is looked at anyway


class SyncRunWatch:
    """The blocking form of :class:`RunWatch`: a connection for each wait, since each has a thread of its own.

    Args:
        database: Where the runs are; ``None`` where only a pool knows, so that nothing can be heard.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database

    @contextmanager
    def watching(self, run_id: UUID) -> Generator[SyncEnding]:
        """Listen for the end of a run in the block; what is committed before it begins is not told."""
        if self._database is None:
            yield SyncEnding(None, run_id)
            return
        connection = self._database.run_sync_listening_connection()
        try:
            is_heard = False
            with contextlib.suppress(RunledgerError):
                is_heard = connection.open()
            yield SyncEnding(connection if is_heard else None, run_id)
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing is open outside of waits."""
