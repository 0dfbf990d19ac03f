"""The part of the ledger for applications that run jobs in a loop of their own, for asyncio applications."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from runledger.client.argument_checks import check_failure_kind, check_lease
from runledger.client.ledger_part import LedgerPart
from runledger.core.jobs.handler import JobProgress
from runledger.core.jobs.records import ClaimedJob, LeaseIdentity
from runledger.core.jobs.setting_checks import check_failure_code
from runledger.core.jobs.status import JobFailureKind
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue, encode_json
from runledger.postgres import jobs
from runledger.postgres.drivers.psycopg import AsyncConnection


class HeldJobs(LedgerPart):
    """Claim jobs, report on them while their leases last, and take leases away that have run out.

    A :class:`~runledger.runtime.Supervisor` does all of this by itself, for many jobs in one statement. These methods
    are for an application that has a loop of its own already.
    """

    async def claim_jobs(
        self,
        worker_id: str,
        *,
        lease_ttl: timedelta,
        limit: int,
        job_types: Sequence[str] | None = None,
        is_start: bool = False,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[ClaimedJob]:
        """Lease due PENDING jobs to a worker: highest priority first, then the one due longest.

        Each claim begins an attempt. A lease that ends without an outcome counts as one.

        Args:
            worker_id: Who claims; unique among live workers, those of a supervisor included.
            lease_ttl: How long the lease lasts without :meth:`heartbeat_job`.
            limit: The most jobs to claim.
            job_types: Only these types; ``None`` is any type, an empty sequence gives nothing and asks nothing.
            is_start: Whether the caller starts every job at once; stage ``running`` is recorded in the same statement.
            connection: The caller's open transaction. Until it commits nobody else sees the claims, and their leases
                run.

        Returns:
            The jobs, in the order in which they should start.

        Raises:
            InvalidArgumentError: An argument breaks a rule; ``error.field`` names it.
            DatabaseConnectionError: The connection was lost, and jobs may have been leased all the same; once their
                leases have ended, a reaper takes them away.
        """
        operation = jobs.claim_jobs(
            worker_id,
            lease_ttl=lease_ttl,
            limit=limit,
            job_types=job_types,
            is_start=is_start,
        )
        return await self._run(operation, connection)

    async def claim_prestart_jobs(
        self,
        worker_id: str,
        *,
        lease_ttl: timedelta,
        limit: int,
        job_types: Sequence[str] | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[ClaimedJob]:
        """Claim as :meth:`claim_jobs` does, for an application that starts what it claims later, or perhaps not.

        Stage ``running`` records the start (:meth:`update_job_progress`). Until then
        :meth:`release_unstarted_job_claim` gives a claim back without consuming the attempt, and so does the reaper
        when the lease has ended.

        Args:
            worker_id: Who claims; unique among live workers, those of a supervisor included.
            lease_ttl: How long the lease lasts without :meth:`heartbeat_job`; it begins now, not at the start.
            limit: The most jobs to claim.
            job_types: Only these types; ``None`` is any type, an empty sequence gives nothing and asks nothing.
            connection: The caller's open transaction.

        Returns:
            The jobs, in the order in which they should start.

        Raises:
            InvalidArgumentError: An argument breaks a rule; ``error.field`` names it.
            DatabaseConnectionError: As by :meth:`claim_jobs`.
        """
        operation = jobs.claim_prestart_jobs(worker_id, lease_ttl=lease_ttl, limit=limit, job_types=job_types)
        return await self._run(operation, connection)

    async def release_unstarted_job_claim(
        self,
        lease: LeaseIdentity,
        *,
        reason: str,
        retry_delay: timedelta = timedelta(),
        connection: AsyncConnection[Any] | None = None,
    ) -> None:
        """Give back a claim of :meth:`claim_prestart_jobs` that was not started. Its attempt is deleted, not consumed.

        Args:
            lease: The claim: ``job.lease`` of the claimed job.
            reason: Kept in the REQUEUED event.
            retry_delay: Time until the job is due again; negative counts as none.
            connection: The caller's open transaction.

        Raises:
            QueryError: Nothing was written: ``job.lease_owner_mismatch``: the job is leased, but not, or not any more,
                under this lease. ``job.unstarted_claim_release_not_applicable``: it is not leased, its start was
                recorded, or the claim was not made by :meth:`claim_prestart_jobs`.
        """
        check_lease(lease)
        operation = jobs.release_unstarted_job_claim(lease, reason=reason, retry_delay=retry_delay)
        await self._run(operation, connection)

    async def heartbeat_job(
        self, lease: LeaseIdentity, *, lease_ttl: timedelta, connection: AsyncConnection[Any] | None = None
    ) -> None:
        """Extend a lease, so that it lasts for the full time to live from now, and write a HEARTBEAT event.

        Call it every third of the time to live, in a transaction of its own: an open one would keep the job locked.

        Args:
            lease: The lease: ``job.lease`` of the claimed job.
            lease_ttl: How long it lasts from now on.
            connection: The caller's open transaction.

        Raises:
            QueryError: ``job.lease_owner_mismatch``: the job was canceled, or the lease has ended. Stop the work:
                whatever it reports will be refused, and somebody else may be doing it.
        """
        check_lease(lease)
        await self._run(jobs.heartbeat_job(lease, lease_ttl=lease_ttl), connection)

    async def update_job_progress(
        self,
        lease: LeaseIdentity,
        *,
        stage: str | None = None,
        progress_done: int | None = None,
        progress_total: int | None = None,
        checkpoint: JsonValue | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> None:
        """Record how far a job has come; what is not given keeps its stored value.

        A stage writes STAGE_CHANGED, counts write PROGRESS, a checkpoint alone writes no event. Stage ``running``
        (``JobStage.RUNNING``) records the start of the attempt. The lease is not extended.

        Args:
            lease: The lease: ``job.lease`` of the claimed job.
            stage: A name for what the job is doing; at most 1,024 bytes.
            progress_done: How many units are done.
            progress_total: How many units there are.
            checkpoint: What a later attempt of the run needs to go on from here.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: Nothing is given, or an argument breaks a rule; ``error.field`` names it.
            QueryError: Nothing was written: ``job.lease_owner_mismatch``, or ``db.business_rule_violation`` when, with
                the stored counts, more would be done than there is.
        """
        check_lease(lease)
        progress = JobProgress(
            stage=stage, progress_done=progress_done, progress_total=progress_total, checkpoint=checkpoint
        )
        operation = jobs.update_job_progress(jobs.JobProgressUpdate(lease=lease, progress=progress))
        await self._run(operation, connection)

    async def complete_job_success(
        self, lease: LeaseIdentity, *, output: JsonEncodable = None, connection: AsyncConnection[Any] | None = None
    ) -> None:
        """Report that the work is done: the job is SUCCEEDED, its attempt closed.

        On the caller's connection the application's rows and the success are committed together, or neither is.

        Args:
            lease: The lease: ``job.lease`` of the claimed job.
            output: Any JSON value to keep as the job's output; ``None`` keeps nothing.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: The output is no JSON that PostgreSQL can store.
            QueryError: Nothing was written: ``job.lease_owner_mismatch``: the lease is not held any more. For the step
                of a workflow also ``workflow.release_conflict``: another transaction kept its run locked for five
                seconds; and ``workflow.terminal_completion_unsupported_isolation`` above READ COMMITTED.
            DatabaseConnectionError: ``db.transaction_commit_unconfirmed``: the connection was lost, and whether the
                outcome is there is not known. With any other code it is not.
        """
        check_lease(lease)
        output_json = None if output is None else encode_json(output, field="output")
        notices = self._notices(connection)
        success = jobs.JobSuccess(lease=lease, output_json=output_json)
        await self._run(jobs.complete_job(success, notices=notices), connection, notices)

    async def complete_job_failure(
        self,
        lease: LeaseIdentity,
        *,
        kind: JobFailureKind,
        error_code: str,
        error_message: str,
        retry_delay: timedelta = timedelta(),
        connection: AsyncConnection[Any] | None = None,
    ) -> bool:
        """Report that the attempt failed: the job is PENDING again, or DEAD_LETTERED for good.

        Code and message are stored with the job, and its tenant may see them: keep secrets out.

        Args:
            lease: The lease: ``job.lease`` of the claimed job.
            kind: TERMINAL and PANICKED give the job up at once; the others are tried again while attempts are left.
            error_code: Short stable text to branch on and to count by, such as ``"smtp.rejected"``.
            error_message: Text for people; cleaned and cut to what the database stores.
            retry_delay: Time until another attempt; none unless given, negative counts as none, and a dead letter
                ignores it. ``runledger.core.retry_delay`` computes what a worker would take.
            connection: The caller's open transaction.

        Returns:
            Whether the job is a dead letter now.

        Raises:
            InvalidArgumentError: The kind is no ``JobFailureKind``, or the code is blank.
            QueryError: Nothing was written: ``job.lease_owner_mismatch``: the lease is not held any more. For the step
                of a workflow also ``workflow.release_conflict``: another transaction kept its run locked for five
                seconds; and ``workflow.terminal_completion_unsupported_isolation`` above READ COMMITTED.
            DatabaseConnectionError: ``db.transaction_commit_unconfirmed``: the connection was lost, and whether the
                outcome is there is not known. With any other code it is not.
        """
        check_lease(lease)
        check_failure_kind(kind)
        check_failure_code("error_code", error_code)
        failure = jobs.AttemptFailure(
            lease=lease, kind=kind, error_code=error_code, error_message=error_message, retry_delay=retry_delay
        )
        notices = self._notices(connection)
        return await self._run(jobs.fail_job(failure, notices=notices), connection, notices)

    async def reap_expired_leases(
        self, *, limit: int, retry_delay: timedelta, connection: AsyncConnection[Any] | None = None
    ) -> jobs.ReapResult:
        """Take leases away that have run out: their jobs are PENDING again, or DEAD_LETTERED without attempts left.

        One pass, whoever held the leases. Nobody else does it: where no supervisor and no
        :func:`~runledger.runtime.run_reaper_loop` runs, call this every few seconds, again at once while the result
        ``is_full``. Any number of processes may.

        Args:
            limit: The most leases to take away.
            retry_delay: Time until a job is due again.
            connection: The caller's open transaction.

        Returns:
            What was done, with the jobs that were given up. Hooks of handlers are not called.
        """
        notices = self._notices(connection)
        operation = jobs.reap_expired_leases(limit=limit, retry_delay=retry_delay, notices=notices)
        return await self._run(operation, connection, notices)
