"""The part of the ledger about one job: read it, cancel it, start it over, for asyncio applications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from runledger.client.argument_checks import check_organization
from runledger.client.ledger_part import LedgerPart
from runledger.core.jobs.records import JobAttempt, JobDeadLetter, JobEvent, JobPayload, JobRecord
from runledger.core.jobs.requeue_outcome import RequeueOutcome
from runledger.core.jobs.status import JobStatus
from runledger.core.scope import Global, Organization, Scope
from runledger.postgres import jobs
from runledger.postgres.drivers.psycopg import AsyncConnection

_GLOBAL = Global()


class SingleJobs(LedgerPart):
    """What became of a job, and what an operator does with it."""

    async def get_job(
        self, job_id: UUID, *, scope: Scope = _GLOBAL, connection: AsyncConnection[Any] | None = None
    ) -> JobRecord | None:
        """Return a job, or ``None`` when there is none in the scope.

        Args:
            job_id: The job.
            scope: Whose jobs may be seen: ``Global()`` sees those of no organization, ``Organization(id)`` those of
                one, ``Admin()`` all.
            connection: The caller's open transaction.
        """
        return await self._run(jobs.get_job(job_id, scope=scope), connection)

    async def get_job_by_idempotency_key(
        self,
        job_type: str,
        idempotency_key: str,
        *,
        scope: Scope = _GLOBAL,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobRecord | None:
        """Return the job that was enqueued with a key, or ``None``.

        Args:
            job_type: The type it was enqueued with.
            idempotency_key: The key.
            scope: Whose key it is: ``Global()`` or ``Organization(id)``; each has keys of its own.
            connection: The caller's open transaction.
        """
        operation = jobs.get_job_by_idempotency_key(job_type, idempotency_key, scope=scope)
        return await self._run(operation, connection)

    async def get_job_payload_by_idempotency_key(
        self,
        job_type: str,
        idempotency_key: str,
        *,
        scope: Organization,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobPayload | None:
        """Return the payload of the job that an organization enqueued with a key, or ``None``.

        :meth:`get_job_by_idempotency_key` gives the whole job, and those of no organization as well.

        Args:
            job_type: The type it was enqueued with.
            idempotency_key: The key.
            scope: Whose job it is: ``Organization(id)``.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: The scope is not one organization.
        """
        check_organization(scope)
        operation = jobs.get_job_payload_by_idempotency_key(scope.organization_id, job_type, idempotency_key)
        return await self._run(operation, connection)

    async def get_latest_job_payload_for_run(
        self, job_type: str, run_id: UUID, *, scope: Organization, connection: AsyncConnection[Any] | None = None
    ) -> JobPayload | None:
        """Return the payload of the newest job whose payload has the id as its member ``run_id``, or ``None``.

        Reads the whole table of jobs; not for a hot path.

        Args:
            job_type: The type it was enqueued with.
            run_id: What the application calls a run; not the run number of a job.
            scope: Whose job it is: ``Organization(id)``.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: The scope is not one organization.
        """
        check_organization(scope)
        operation = jobs.get_latest_job_payload_for_run(scope.organization_id, job_type, run_id)
        return await self._run(operation, connection)

    async def update_job_payload_uuid_array_field(
        self,
        job_id: UUID,
        job_type: str,
        *,
        field: str,
        uuids: Sequence[UUID],
        scope: Organization,
        connection: AsyncConnection[Any] | None = None,
    ) -> bool:
        """Set one member of a job's payload to a list of UUIDs, and tell whether there was such a job.

        The other members stay. It is done whatever the status: a handler that has begun has the old payload.

        Args:
            job_id: The job.
            job_type: The type of the job.
            field: The member; made when it is missing.
            uuids: The new value.
            scope: Whose job it is: ``Organization(id)``.
            connection: The caller's open transaction.

        Returns:
            ``False`` when there is no job of this type in the organization, or its payload is no object.

        Raises:
            InvalidArgumentError: The scope is not one organization, or PostgreSQL cannot store the field's name.
        """
        check_organization(scope)
        operation = jobs.update_job_payload_uuid_array_field(
            scope.organization_id, job_id, job_type, field=field, uuids=uuids
        )
        return await self._run(operation, connection)

    async def list_job_events(
        self,
        job_id: UUID,
        *,
        scope: Scope = _GLOBAL,
        limit: int = 1_000,
        after_id: int = 0,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[JobEvent]:
        """Return what happened to a job, oldest first; a job outside the scope has no events.

        Args:
            job_id: The job.
            scope: Whose jobs may be seen, see :meth:`get_job`.
            limit: The most events to return.
            after_id: Only events after this one; the id of the last event seen turns the page.
            connection: The caller's open transaction.
        """
        operation = jobs.list_job_events(job_id, scope=scope, limit=limit, after_id=after_id)
        return await self._run(operation, connection)

    async def list_job_attempts(
        self, job_id: UUID, *, scope: Scope = _GLOBAL, connection: AsyncConnection[Any] | None = None
    ) -> list[JobAttempt]:
        """Return every attempt of a job in order, of all its runs; a job outside the scope has none."""
        return await self._run(jobs.list_job_attempts(job_id, scope=scope), connection)

    async def get_dead_letter(
        self, job_id: UUID, *, scope: Scope = _GLOBAL, connection: AsyncConnection[Any] | None = None
    ) -> JobDeadLetter | None:
        """Return why and with what payload a job was given up the last time, or ``None``."""
        return await self._run(jobs.get_dead_letter(job_id, scope=scope), connection)

    async def cancel_job(
        self,
        job_id: UUID,
        *,
        scope: Scope = _GLOBAL,
        reason: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobRecord:
        """Cancel a job that has not ended, and return it.

        A handler that runs is not stopped by the database, and whatever it writes is refused. Its worker is told, after
        the commit, or hears of it at the next renewal of the lease. In the caller's transaction the row stays locked
        until its end.

        Args:
            job_id: The job.
            scope: Whose jobs may be canceled, see :meth:`get_job`.
            reason: Kept with the job and its event; ``CANCELED`` when not given.
            connection: The caller's open transaction.

        Raises:
            QueryError: Nothing was written: ``job.not_found``: there is none in the scope.
                ``job.invalid_state_transition``: it has ended. For the step of a workflow also
                ``workflow.release_conflict``: another transaction kept its run locked for five seconds; and
                ``workflow.terminal_completion_unsupported_isolation`` above READ COMMITTED.
        """
        notices = self._notices(connection)
        operation = jobs.cancel_job(job_id, scope=scope, reason=reason, notices=notices)
        return await self._run(operation, connection, notices)

    async def requeue_job(
        self,
        job_id: UUID,
        *,
        scope: Scope = _GLOBAL,
        reason: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobRecord:
        """Start a job that has ended over, in a new run that is due at once, and return it.

        The handler of a job that was canceled just now may still be running; :meth:`compare_and_requeue_job` takes care
        of that, and of two people who requeue the same job.

        Args:
            job_id: The job.
            scope: Whose jobs may be requeued, see :meth:`get_job`.
            reason: Kept with the job and its event; ``REQUEUED`` when not given.
            connection: The caller's open transaction.

        Raises:
            QueryError: ``job.not_found``: there is none in the scope. ``job.invalid_state_transition``: it has not
                ended. ``job.workflow_requeue_not_supported``: it belongs to a workflow.
        """
        notices = self._notices(connection)
        operation = jobs.requeue_job(job_id, scope=scope, reason=reason, notices=notices)
        return await self._run(operation, connection, notices)

    async def compare_and_requeue_job(
        self,
        job_id: UUID,
        *,
        expected_status: JobStatus,
        expected_run_number: int,
        scope: Scope = _GLOBAL,
        reason: str | None = None,
        keeps_progress: bool = False,
        connection: AsyncConnection[Any] | None = None,
    ) -> RequeueOutcome:
        """Requeue a job if it still is what the caller saw, and no handler of a canceled lease may still be running.

        Args:
            job_id: The job.
            expected_status: The status that the caller saw: SUCCEEDED, DEAD_LETTERED or CANCELED.
            expected_run_number: The run that the caller saw.
            scope: Whose jobs may be requeued, see :meth:`get_job`.
            reason: Kept with the job and its event; ``REQUEUED`` when not given.
            keeps_progress: Whether the new run starts with the counts and the checkpoint of the old one.
            connection: The caller's open transaction.

        Returns:
            ``Requeued``, or why nothing was written: ``ExpectationMismatch`` or ``CancellationNotQuiesced``.

        Raises:
            QueryError: ``job.not_found`` or ``job.workflow_requeue_not_supported``.
            InvalidArgumentError: The expected status does not end a run.
        """
        notices = self._notices(connection)
        operation = jobs.compare_and_requeue_job(
            job_id,
            scope=scope,
            expected_status=expected_status,
            expected_run_number=expected_run_number,
            reason=reason,
            keeps_progress=keeps_progress,
            notices=notices,
        )
        return await self._run(operation, connection, notices)
