"""A database: where it is, which schema holds the tables, and how to open connections to it."""

from __future__ import annotations

from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from runledger.core.errors import InvalidArgumentError
from runledger.postgres.drivers.psycopg.connecting import connection_parameters, describe_server, unreachable
from runledger.postgres.drivers.psycopg.listening_connection import ListeningConnection, SyncListeningConnection
from runledger.postgres.drivers.psycopg.own_connection import (
    AsyncOwnConnection,
    SyncOwnConnection,
    configure,
    configure_sync,
)
from runledger.postgres.schema_name import DEFAULT_SCHEMA, channel_of, quote_schema, run_channel_of

_POOL_OPEN_TIMEOUT_SECONDS = 15


class Database:
    """Where Runledger's tables are, and how to reach them.

    Args:
        url: PostgreSQL URL or libpq ``key=value`` text.
        schema: The schema of Runledger's tables.

    Raises:
        InvalidArgumentError: libpq does not understand the URL, or the schema name is impossible.
    """

    def __init__(self, url: str, *, schema: str = DEFAULT_SCHEMA) -> None:
        quote_schema(schema)
        self._parameters = connection_parameters(url)
        self._description = describe_server(self._parameters)
        self.schema = schema

    @classmethod
    def of_pool(cls, pool: AsyncConnectionPool[Any] | ConnectionPool[Any], *, schema: str = DEFAULT_SCHEMA) -> Self:
        """Return the database that an application's pool connects to.

        Raises:
            InvalidArgumentError: The pool computes its connection text, so it cannot be read here.
        """
        if not isinstance(pool.conninfo, str) or callable(pool.kwargs):
            raise InvalidArgumentError("pool", "computes its connection text", "pass a Database with the URL instead")
        parameters = {name: value for name, value in (pool.kwargs or {}).items() if name not in _DRIVER_ARGUMENTS}
        return cls(make_conninfo(pool.conninfo, **parameters), schema=schema)

    @property
    def description(self) -> str:
        """Host, port and database; safe to show."""
        return self._description

    def own_connection(
        self,
        *,
        answer_timeout_seconds: float | None = None,
        **overrides: Any,  # noqa: ANN401 (libpq's parameters)
    ) -> AsyncOwnConnection:
        """Return a connection that is opened when it is first used.

        Args:
            answer_timeout_seconds: After so long without an answer the connection counts as lost; the server, unless
                behind a pooler, gives up the statement then as well.
            **overrides: libpq parameters, such as ``connect_timeout`` in seconds.
        """
        return AsyncOwnConnection(
            self._parameters | overrides, schema=self.schema, answer_timeout_seconds=answer_timeout_seconds
        )

    def own_sync_connection(
        self,
        *,
        statement_timeout_ms: int | None = None,
        **overrides: Any,  # noqa: ANN401 (libpq's parameters)
    ) -> SyncOwnConnection:
        """Return a blocking connection that is opened when it is first used.

        Args:
            statement_timeout_ms: How long the server may work on one statement; ignored behind a pooler.
            **overrides: libpq parameters, such as ``connect_timeout`` in seconds.
        """
        return SyncOwnConnection(
            self._parameters | overrides, schema=self.schema, statement_timeout_ms=statement_timeout_ms
        )

    def listening_connection(self) -> ListeningConnection:
        """Return a connection that hears the notifications about the jobs of the schema, opened when it is told to."""
        return ListeningConnection(self._parameters, channel=channel_of(self.schema))

    def run_listening_connection(self) -> ListeningConnection:
        """Return a connection that hears which workflow runs of the schema have ended, opened when it is told to."""
        return ListeningConnection(self._parameters, channel=run_channel_of(self.schema))

    def run_sync_listening_connection(self) -> SyncListeningConnection:
        """Return the blocking form of :meth:`run_listening_connection`."""
        return SyncListeningConnection(self._parameters, channel=run_channel_of(self.schema))

    async def open_pool(self, *, min_size: int, max_size: int) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
        """Open a pool of autocommit connections.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        await self._check_reachable()
        pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            kwargs={**self._parameters, "autocommit": True},
            min_size=min_size,
            max_size=max_size,
            configure=_configure,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=_POOL_OPEN_TIMEOUT_SECONDS)
        except PoolTimeout:
            await pool.close()
            raise unreachable(self._parameters) from None
        return pool

    def open_sync_pool(self, *, min_size: int, max_size: int) -> ConnectionPool[psycopg.Connection[Any]]:
        """Open a pool of blocking autocommit connections.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        self._check_reachable_sync()
        pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            kwargs={**self._parameters, "autocommit": True},
            min_size=min_size,
            max_size=max_size,
            configure=_configure_sync,
            open=False,
        )
        try:
            pool.open(wait=True, timeout=_POOL_OPEN_TIMEOUT_SECONDS)
        except PoolTimeout:
            pool.close()
            raise unreachable(self._parameters) from None
        return pool

    async def _check_reachable(self) -> None:
        # A pool retries a wrong password for its whole timeout and then only says that time is over. One connection
        # beforehand tells at once, and its error has the cause.
        async with self.own_connection():
            pass

    def _check_reachable_sync(self) -> None:
        with self.own_sync_connection():
            pass


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    await configure(connection)


def _configure_sync(connection: psycopg.Connection[Any]) -> None:
    configure_sync(connection)


_DRIVER_ARGUMENTS = frozenset({"autocommit", "row_factory", "cursor_factory", "prepare_threshold", "context"})
