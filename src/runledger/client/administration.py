"""The part of the ledger for administrators and their pages, for asyncio applications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from runledger.client.ledger_part import LedgerPart
from runledger.core.jobs.payload_edit import PayloadEdit
from runledger.core.jobs.status import JobStatus
from runledger.core.jobs.summaries import DeadLetterPage, JobCount, JobMetricsReport, JobPage, JobSummary
from runledger.core.json_form import JsonEncodable
from runledger.core.scope import Global, Scope
from runledger.core.workers import WorkerRecord
from runledger.postgres import admin, workers
from runledger.postgres.drivers.psycopg import AsyncConnection

_GLOBAL = Global()
_DAY = timedelta(days=1)


class Administration(LedgerPart):
    """Lists, counts and metrics, at a cost that does not depend on how many jobs there are; and edits of what waits."""

    async def list_jobs(
        self,
        *,
        scope: Scope = _GLOBAL,
        status: JobStatus | None = None,
        job_type: str | None = None,
        job_type_contains: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobPage:
        """Return a page of jobs, newest first, without payloads.

        For a page at most 20,000 jobs are read. A filter that lets few of them through gives short pages, even empty
        ones, with a cursor to go on. Pages of jobs that wait, run, were given up or canceled hold those and read no
        others.

        Args:
            scope: Whose jobs may be seen: ``Global()``, ``Organization(id)`` or ``Admin()``.
            status: Only jobs with this status.
            job_type: Only jobs of exactly this type.
            job_type_contains: Only types with this text in them; case does not matter, ``%`` and ``_`` are literal.
            limit: Jobs at most, 1 to 1000.
            cursor: ``next_cursor`` of the page before, with the same filters.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: ``job.invalid_pagination``: the limit or the cursor is none.
        """
        operation = admin.list_jobs(
            scope=scope,
            status=status,
            job_type=job_type,
            job_type_contains=job_type_contains,
            limit=limit,
            cursor=cursor,
        )
        return await self._run(operation, connection)

    async def get_job_summaries(
        self, job_ids: Iterable[UUID], *, scope: Scope = _GLOBAL, connection: AsyncConnection[Any] | None = None
    ) -> list[JobSummary]:
        """Return jobs by their ids, in the order of the ids; without those that are not there, or not in the scope.

        Args:
            job_ids: At most 1000 different ids.
            scope: Whose jobs may be seen.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: ``job.invalid_pagination``: there are more.
        """
        return await self._run(admin.get_job_summaries(job_ids, scope=scope), connection)

    async def count_jobs(
        self,
        *,
        scope: Scope = _GLOBAL,
        status: JobStatus | None = None,
        job_type: str | None = None,
        job_type_contains: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobCount:
        """Count jobs, as far as 20,000 of them tell: there may be more when the count is not exact.

        Of jobs that wait, run, were given up or canceled only those are read; else the newest of all. The filters are
        those of :meth:`list_jobs`.
        """
        operation = admin.count_jobs(scope=scope, status=status, job_type=job_type, job_type_contains=job_type_contains)
        return await self._run(operation, connection)

    async def list_dead_letters(
        self,
        *,
        scope: Scope = _GLOBAL,
        job_type: str | None = None,
        job_type_contains: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> DeadLetterPage:
        """Return a page of dead letters, latest first, without snapshots; also of jobs that were requeued since.

        Arguments and errors are those of :meth:`list_jobs`.
        """
        operation = admin.list_dead_letters(
            scope=scope, job_type=job_type, job_type_contains=job_type_contains, limit=limit, cursor=cursor
        )
        return await self._run(operation, connection)

    async def get_job_metrics(
        self,
        *,
        scope: Scope = _GLOBAL,
        job_type: str | None = None,
        window: timedelta = _DAY,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobMetricsReport:
        """Return what each job type has waiting and running, and what its attempts came to lately.

        There is a row for every definition, with zeros when it is idle. About 10,000 attempts are read at most: where
        there were more in the window, the report looks back less far, and ``since`` says how far. What it counts from
        then on is complete, and the percentiles are those of all these attempts. Of jobs that wait 10,000 are counted
        for each type.

        Args:
            scope: Whose jobs are counted.
            job_type: Only exactly this type.
            window: How far to look back at most; up to 36,500 days.
            connection: The caller's open transaction.
        """
        operation = admin.get_job_metrics(scope=scope, job_type=job_type, window=window)
        return await self._run(operation, connection)

    async def list_workers(
        self,
        *,
        claims_job_type: str | None = None,
        after_worker_id: str | None = None,
        limit: int = 1_000,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[WorkerRecord]:
        """Return the workers of all processes, in the order of their ids.

        Those that died in the last hour are among them, with ``is_live`` false. A loop of an application that claims
        with a ledger is no worker.

        Args:
            claims_job_type: Only those that claim jobs of this type: live ones that serve it and are not stopping.
            after_worker_id: Only ids after this one; the last of the page before.
            limit: Workers at most, one or more.
            connection: The caller's open transaction.
        """
        operation = workers.list_workers(claims_job_type=claims_job_type, after_worker_id=after_worker_id, limit=limit)
        return await self._run(operation, connection)

    async def edit_job_payload(
        self,
        job_id: UUID,
        *,
        members: Mapping[str, JsonEncodable] | None = None,
        removed: Sequence[str] = (),
        scope: Scope = _GLOBAL,
        connection: AsyncConnection[Any] | None = None,
    ) -> PayloadEdit:
        """Set and remove members of the payload of a job that waits. No event tells of it.

        Args:
            job_id: The job.
            members: What to set; other members stay.
            removed: The names of members to remove.
            scope: Whose jobs may be changed.
            connection: The caller's open transaction. It waits five seconds for the job, unless its own
                ``lock_timeout`` is shorter.

        Returns:
            ``PayloadUpdated``, ``PayloadNotFound``, or ``PayloadRejected`` with the reason: the job belongs to a
            workflow, has an idempotency key, does not wait, has a payload that is no object, or stayed locked by
            somebody else for five seconds.

        Raises:
            InvalidArgumentError: There is nothing to do, a member is to be both set and removed, or one is nothing that
                JSON and PostgreSQL can hold.
        """
        operation = admin.edit_job_payload(job_id, scope=scope, members=members, removed=removed)
        return await self._run(operation, connection)
