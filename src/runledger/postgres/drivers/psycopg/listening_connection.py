"""Connections that do nothing but listen."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from runledger.postgres.drivers.psycopg.connecting import ConnectionParameters, unreachable
from runledger.postgres.drivers.psycopg.own_connection import connect_configured, connect_sync_configured
from runledger.postgres.sql_errors import DatabaseConnectionError

_OPEN_TIMEOUT_SECONDS = 15.0


class ListeningConnection:
    """Hears what is notified on a channel. While it waits it sends nothing to the server.

    Args:
        parameters: The parameters of the connection.
        channel: The channel.
    """

    def __init__(self, parameters: ConnectionParameters, *, channel: str) -> None:
        self._parameters = parameters
        self._channel = channel
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> bool:
        """Connect and listen, and tell whether that is of any use: behind a pooler nothing would ever be heard.

        Whatever is committed after this call is heard, as long as the connection lasts.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        failure: psycopg.Error
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_SECONDS):
                self._connection, is_direct = await connect_configured(self._parameters, _OPEN_TIMEOUT_SECONDS)
                if is_direct:
                    await self._connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)), prepare=False)
            return is_direct
        except psycopg.Error as error:
            failure = error
        except TimeoutError:
            failure = psycopg.errors.ConnectionTimeout("no answer in time")
        await self.close()
        raise unreachable(self._parameters, failure)

    async def hear(self) -> list[str]:
        """Wait for a notification, and return the payloads of all that are there.

        Raises:
            DatabaseConnectionError: The connection was lost, or is not open.
        """
        failure: psycopg.Error | None = None
        if self._connection is not None:
            try:
                return [notification.payload async for notification in self._connection.notifies(stop_after=1)]
            except psycopg.Error as error:
                failure = error
        await self.close()
        raise DatabaseConnectionError("the connection for notifications was lost", source=failure)

    async def close(self) -> None:
        """Close the connection; it may be opened again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()


class SyncListeningConnection:
    """The blocking form of :class:`ListeningConnection`."""

    def __init__(self, parameters: ConnectionParameters, *, channel: str) -> None:
        self._parameters = parameters
        self._channel = channel
        self._connection: psycopg.Connection[Any] | None = None

    def open(self) -> bool:
        """Connect and listen, and tell whether that is of any use; as :meth:`ListeningConnection.open`.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        failure: psycopg.Error
        try:
            self._connection, is_direct = connect_sync_configured(self._parameters, _OPEN_TIMEOUT_SECONDS)
            if is_direct:
                self._connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)), prepare=False)
            return is_direct
        except psycopg.Error as error:
            failure = error
        self.close()
        raise unreachable(self._parameters, failure)

    def hear(self, seconds: float) -> list[str]:
        """Wait for a notification, for so long at most, and return the payloads of all that are there.

        Raises:
            DatabaseConnectionError: The connection was lost, or is not open.
        """
        failure: psycopg.Error | None = None
        if self._connection is not None:
            try:
                heard = self._connection.notifies(timeout=seconds, stop_after=1)
                return [notification.payload for notification in heard]
            except psycopg.Error as error:
                failure = error
        self.close()
        raise DatabaseConnectionError("the connection for notifications was lost", source=failure)

    def close(self) -> None:
        """Close the connection; it may be opened again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()
