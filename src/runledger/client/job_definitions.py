"""The part of the ledger about job definitions, for asyncio applications."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from runledger.client.ledger_part import LedgerPart
from runledger.core.jobs.records import JobDefinition
from runledger.postgres import admin, jobs
from runledger.postgres.drivers.psycopg import AsyncConnection


class JobDefinitions(LedgerPart):
    """Which job types exist, and the defaults of their jobs."""

    async def ensure_job_definitions(
        self, definitions: Iterable[JobDefinition], *, connection: AsyncConnection[Any] | None = None
    ) -> list[str]:
        """Insert the definitions that do not exist yet and return their types.

        Definitions that exist keep the values an operator may have given them. A worker does this by itself for the
        types it serves; a process that only enqueues needs it where it may come first.
        """
        return await self._run(jobs.insert_missing_job_definitions(definitions), connection)

    async def upsert_job_definitions(
        self, definitions: Iterable[JobDefinition], *, connection: AsyncConnection[Any] | None = None
    ) -> None:
        """Insert definitions, or overwrite all fields of those that exist. Existing jobs are untouched.

        Raises:
            QueryError: ``job_definition.active_schedule_exists``: one is to be disabled, and an active schedule needs
                it. Nothing was written.
        """
        await self._run(jobs.upsert_job_definitions(definitions), connection)

    async def update_job_definition(
        self,
        job_type: str,
        *,
        max_attempts: int | None = None,
        default_timeout: timedelta | None = None,
        default_priority: int | None = None,
        is_enabled: bool | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobDefinition | None:
        """Change the given fields of a definition and return it, or ``None`` when the type is unknown.

        A type that is disabled takes no new jobs; those that it has still run. Jobs keep the values that they were
        enqueued with.

        Args:
            job_type: The type; one that is unknown is not made.
            max_attempts: Attempts of a job; 1 or more.
            default_timeout: How long one attempt may take, in whole seconds.
            default_priority: Higher runs first.
            is_enabled: Whether new jobs are taken.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: A value breaks a rule; ``error.field`` names it.
            QueryError: ``job_definition.active_schedule_exists``: the type is to be disabled, and an active schedule
                needs it. Nothing was written.
        """
        operation = jobs.update_job_definition(
            job_type,
            max_attempts=max_attempts,
            default_timeout=default_timeout,
            default_priority=default_priority,
            is_enabled=is_enabled,
        )
        return await self._run(operation, connection)

    async def pause_job_type(
        self, job_type: str, *, connection: AsyncConnection[Any] | None = None
    ) -> JobDefinition | None:
        """Let no job of a type be claimed any more, and return its definition, or ``None`` when the type is unknown.

        Jobs are still enqueued, canceled and reaped. Those that run go on, and so does what a claim brings that had
        begun before the commit; retries wait like the others. :meth:`resume_job_type` ends it.
        """
        return await self._run(admin.pause_job_type(job_type), connection)

    async def resume_job_type(
        self, job_type: str, *, connection: AsyncConnection[Any] | None = None
    ) -> JobDefinition | None:
        """Let the jobs of a type be claimed again, and return its definition, or ``None`` when the type is unknown.

        Its workers are told, as of new jobs.
        """
        notices = self._notices(connection)
        return await self._run(admin.resume_job_type(job_type, notices=notices), connection, notices)

    async def get_job_definition(
        self, job_type: str, *, connection: AsyncConnection[Any] | None = None
    ) -> JobDefinition | None:
        """Return the definition of a type, or ``None``."""
        return await self._run(jobs.get_job_definition(job_type), connection)

    async def list_job_definitions(
        self,
        *,
        job_type_contains: str | None = None,
        limit: int = 100,
        offset: int = 0,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[JobDefinition]:
        """Return definitions in the order of their type; only those whose type holds a text, in any case of letters."""
        operation = jobs.list_job_definitions(job_type_contains=job_type_contains, limit=limit, offset=offset)
        return await self._run(operation, connection)
