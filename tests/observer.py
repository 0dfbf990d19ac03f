"""A second connection to the database of a test: looks, waits for what others do, and gets in their way."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any, LiteralString, Self

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

_PATIENCE_SECONDS = 20

# In the server, so that a test waits for a condition in one call. Each statement of the loop sees what was committed
# until then.
_WAIT = """
DO $wait$
DECLARE
    deadline timestamptz := clock_timestamp() + {patience} * interval '1 second';
BEGIN
    WHILE NOT coalesce(({condition}), false) LOOP
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'this did not become true: %', {text};
        END IF;
        PERFORM pg_sleep(0.002);
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
END $wait$
"""

_BLOCKED = (
    "SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)

_SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'runledger'"
)


class Observer:
    """Sees the database as it is committed, and waits for it without asking again and again."""

    def __init__(self, url: str, connection: psycopg.AsyncConnection[Any]) -> None:
        """Not for callers: use `connected_observer`."""
        self._url = url
        self._connection = connection

    @classmethod
    async def connect(cls, url: str) -> Self:
        return cls(url, await psycopg.AsyncConnection.connect(url, autocommit=True, application_name="observer"))

    async def close(self) -> None:
        await self._connection.close()

    async def execute(self, statement: LiteralString | SQL | Composed) -> None:
        await self._connection.execute(statement)

    async def row(self, query: LiteralString, *parameters: object) -> tuple[Any, ...]:
        """Return the one row of a query."""
        (row,) = await self.rows(query, *parameters)
        return row

    async def rows(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        cursor = await self._connection.execute(query, parameters)
        return await cursor.fetchall()

    async def value(self, query: LiteralString, *parameters: object) -> Any:
        """Return the one value of a query."""
        (value,) = await self.row(query, *parameters)
        return value

    async def column(self, query: LiteralString, *parameters: object) -> list[Any]:
        """Return the first column of a query."""
        return [row[0] for row in await self.rows(query, *parameters)]

    async def until(self, condition: LiteralString | SQL | Composed) -> None:
        """Wait until an SQL condition is true."""
        composed = SQL(condition) if isinstance(condition, str) else condition
        text = Literal(composed.as_string(self._connection))
        await self.execute(SQL(_WAIT).format(patience=Literal(_PATIENCE_SECONDS), condition=composed, text=text))

    async def listening_sessions(self) -> int:
        """Return how many sessions of Runledger listen."""
        return await self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'runledger' AND query LIKE 'LISTEN%%'"
        )

    async def end_listening_sessions(self) -> None:
        """End the sessions of Runledger that listen."""
        await self.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'runledger' AND query LIKE 'LISTEN%%'"
        )

    async def until_blocked(self, *, sessions: int = 1) -> None:
        """Wait until so many other sessions wait for a lock."""
        await self.until(SQL("({}) >= {}").format(SQL(_BLOCKED), Literal(sessions)))

    async def end_blocked_sessions(self) -> None:
        """End the sessions that wait for a lock, as an administrator or a failing server does."""
        await self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database()"
        )

    async def until_sessions(self, *, at_most: int) -> None:
        """Wait until Runledger has no more sessions than that: the server sees the end of one a little later."""
        await self.until(SQL("({}) <= {}").format(SQL(_SESSIONS), Literal(at_most)))

    @contextlib.asynccontextmanager
    async def locked(self, table: LiteralString) -> AsyncGenerator[None]:
        """Hold a table so that nobody can even read it."""
        async with self._holding(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(Identifier("runledger", table))):
            yield

    @contextlib.asynccontextmanager
    async def locked_job(self, job_id: object) -> AsyncGenerator[None]:
        """Hold the row of a job, as an application's open transaction may."""
        query = SQL("SELECT FROM runledger.job_queue WHERE id = {} FOR UPDATE").format(Literal(job_id))
        async with self._holding(query):
            yield

    @contextlib.asynccontextmanager
    async def locked_jobs(self) -> AsyncGenerator[None]:
        """Hold the rows of all jobs."""
        async with self._holding(SQL("SELECT FROM runledger.job_queue FOR UPDATE")):
            yield

    @contextlib.asynccontextmanager
    async def locked_run(self, run_id: object) -> AsyncGenerator[None]:
        """Hold a run of a workflow, as an append in an application's open transaction does."""
        query = SQL("SELECT FROM runledger.workflow_runs WHERE id = {} FOR NO KEY UPDATE").format(Literal(run_id))
        async with self._holding(query):
            yield

    @contextlib.asynccontextmanager
    async def locked_schedules(self) -> AsyncGenerator[None]:
        """Hold the rows of all schedules."""
        async with self._holding(SQL("SELECT FROM runledger.job_schedules FOR UPDATE")):
            yield

    @contextlib.asynccontextmanager
    async def _holding(self, statement: SQL | Composed) -> AsyncGenerator[None]:
        async with await psycopg.AsyncConnection.connect(self._url, application_name="holder") as holder:
            await holder.execute(statement)
            yield
