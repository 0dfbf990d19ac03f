"""What is heard on the channel of a schema."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from runledger.postgres.notices import Notice, WakeUp, decode_notice

CHANNEL = "runledger_runledger"
RUN_CHANNEL = "runledger:runs:runledger"

_END = "end"


class Channel:
    """Hears what every session of the database may hear. Not made by tests: use `channel_of`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], name: str) -> None:
        self._connection = connection
        self._name = name

    async def payloads(self) -> list[str]:
        """Return what was committed until now and not heard yet."""
        # Notifications come in the order of the commits, so this one is the last.
        await self._connection.execute("SELECT pg_notify(%s, %s)", [self._name, _END])
        heard: list[str] = []
        async for notification in self._connection.notifies(timeout=20):
            if notification.payload == _END:
                return heard
            heard.append(notification.payload)
        raise TimeoutError

    async def notices(self) -> list[Notice]:
        """The same as notices."""
        return [decode_notice(payload) for payload in await self.payloads()]

    async def next(self) -> Notice:
        """Wait for a notice."""
        async for notification in self._connection.notifies(timeout=20):
            return decode_notice(notification.payload)
        raise TimeoutError

    async def next_wake_up(self) -> WakeUp:
        """Wait for a notice, which must be a wake-up."""
        notice = await self.next()
        assert isinstance(notice, WakeUp)
        return notice

    async def send(self, *payloads: str) -> None:
        """Notify workers of whatever it is; heard here as well."""
        for payload in payloads:
            await self._connection.execute("SELECT pg_notify(%s, %s)", [self._name, payload])


@contextlib.asynccontextmanager
async def channel_to(url: str, name: str = CHANNEL) -> AsyncGenerator[Channel]:
    """Listen on a channel of the default schema: that of workers, or `RUN_CHANNEL` for ends of runs."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, application_name="channel") as connection:
        await connection.execute(SQL("LISTEN {}").format(Identifier(name)))
        yield Channel(connection, name)
