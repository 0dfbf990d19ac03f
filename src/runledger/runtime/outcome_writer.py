"""Write outcomes on one connection, many at a time or one alone, one bad item never failing its neighbours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from runledger.core.jobs.handler import JobFailure
from runledger.postgres import DatabaseConnectionError, Operation, QueryError, jobs
from runledger.postgres.drivers.psycopg.own_connection import AsyncOwnConnection
from runledger.postgres.notices import Notices
from runledger.postgres.sql_errors import LEASE_LOST, LOCK_NOT_AVAILABLE
from runledger.postgres.workflows.run_lock import BRIEF_LOCK_TIMEOUT
from runledger.runtime.error_judgement import is_systemic, meets_any_statement
from runledger.runtime.outcome import JOB_CANCELED, Failed, Succeeded
from runledger.runtime.outcome_places import OutcomePlaces
from runledger.runtime.outcome_settler import OutcomeSettler
from runledger.runtime.unwritten_outcome import Unwritten
from runledger.runtime.worker_log import WorkerLog

T = TypeVar("T")

LOCK_TIMEOUT = timedelta(seconds=1)
"""How long a write waits for the job of a single outcome, or for the run of a group that has its turn."""


class OutcomeWriter:
    """Takes outcomes from where they wait into the ledger.

    What could not be written with others is put where it goes on. The answer to a write may be lost although the write
    was done. So an outcome is not lost when its lease is gone: the ledger tells whether the attempt ended as the
    outcome says.

    Args:
        connection: Its own; closed by :meth:`close`.
        worker_id: The worker that holds the leases.
        places: The places where outcomes wait.
        settler: The settler, which hears what became of them.
        on_advanced: Called after the commit with what the ends of workflow steps have to tell.
    """

    def __init__(
        self,
        connection: AsyncOwnConnection,
        *,
        worker_id: str,
        places: OutcomePlaces,
        settler: OutcomeSettler,
        on_advanced: Callable[[Notices], None],
    ) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._logger = WorkerLog("worker", worker_id)
        self._places = places
        self._settler = settler
        self._on_advanced = on_advanced

    async def close(self) -> None:
        """Close its connection."""
        await self._connection.close()

    async def write(self, batch: list[Unwritten], *, run_wait: timedelta = BRIEF_LOCK_TIMEOUT) -> None:
        """Write a batch, as it is or in ever smaller parts.

        Args:
            batch: The outcomes, as many as one statement can carry.
            run_wait: How long to wait for runs that somebody keeps locked.

        Raises:
            DatabaseConnectionError: The connection was lost. Parts of the batch may be settled.
            QueryError: No statement would be answered now, whatever it says. As above.
        """
        ended = [item for item in batch if item.has_lost_lease()]
        if ended:
            await self._settle_ended(ended)
        successes = [item for item in batch if isinstance(item.outcome, Succeeded) and not item.is_settled]
        plain = [item for item in successes if item.is_plain]
        if plain:
            await self._write_group(plain, self._complete_plain)
        of_workflows = [item for item in successes if not item.is_plain]
        if of_workflows:
            await self._write_group(of_workflows, partial(self._complete_of_workflows, run_wait=run_wait))
        failures = [item for item in batch if isinstance(item.outcome, Failed) and not item.is_settled]
        if failures:
            await self._write_group(failures, partial(self._fail, run_wait=run_wait))

    async def write_single(self, item: Unwritten) -> None:
        """Write one alone. If PostgreSQL refuses it, its job fails with what it was refused for.

        Raises:
            DatabaseConnectionError: The connection was lost.
            QueryError: Another one may be answered in a moment, so it can be tried again.
        """
        if item.has_lost_lease():
            await self._settle_ended([item])
            return
        try:
            if isinstance(item.outcome, Succeeded):
                success = _success(item)
                await self._advance(
                    lambda notices: jobs.complete_job(success, lock_timeout=LOCK_TIMEOUT, notices=notices)
                )
                self._settler.written(item, is_dead_letter=False)
            else:
                self._settler.written(item, is_dead_letter=await self._fail_single(item))
        except DatabaseConnectionError:
            raise
        except QueryError as error:
            if error.code == LEASE_LOST:
                await self._settle_ended([item])
            elif error.sqlstate == LOCK_NOT_AVAILABLE:
                self._places.hold(item)
            elif is_systemic(error):
                raise
            else:
                await self._fail_poison(item, error, JobFailure.terminal(error.code, error.client_message))
        except Exception as error:  # noqa: BLE001 (no statement was made of it: the outcome is a broken object)
            text = f"the outcome could not be written: {type(error).__name__}"
            await self._fail_poison(item, error, JobFailure.terminal("job.outcome_unwritable", text))

    async def _write_group(
        self,
        group: list[Unwritten],
        write: Callable[[list[Unwritten]], Awaitable[set[UUID]]],
    ) -> None:
        try:
            written = await write(group)
        except DatabaseConnectionError:
            raise
        except Exception as error:  # also TypeError and the like: an outcome that cannot be encoded
            if isinstance(error, QueryError) and meets_any_statement(error):
                raise
        else:
            if len(written) < len(group):
                await self._sort_out([item for item in group if item.job_id not in written])
            return
        for half in self._places.halve(group):
            await self._write_group(half, write)

    async def _complete_plain(self, group: list[Unwritten]) -> set[UUID]:
        complete = jobs.complete_jobs(self._worker_id, [_success(item) for item in group], are_plain=True)
        return self._completed(group, await self._connection.run(complete))

    async def _complete_of_workflows(self, group: list[Unwritten], *, run_wait: timedelta) -> set[UUID]:
        successes = [_success(item) for item in group]
        completed = await self._advance(
            lambda notices: jobs.complete_jobs(self._worker_id, successes, run_wait=run_wait, notices=notices),
        )
        return self._completed(group, completed)

    def _completed(self, group: list[Unwritten], written: set[UUID]) -> set[UUID]:
        for item in group:
            if len(written) == len(group) or item.job_id in written:
                self._settler.written(item, is_dead_letter=False)
        return written

    async def _fail(self, group: list[Unwritten], *, run_wait: timedelta) -> set[UUID]:
        failures = [_failure(item) for item in group]
        dead_letters = await self._advance(
            lambda notices: jobs.fail_jobs(self._worker_id, failures, run_wait=run_wait, notices=notices),
        )
        for item in group:
            if item.job_id in dead_letters:
                self._settler.written(item, is_dead_letter=dead_letters[item.job_id])
        return set(dead_letters)

    async def _sort_out(self, missing: Sequence[Unwritten]) -> None:
        """Tell apart what the batch left out: rows locked by somebody else, and leases that are gone."""
        held = await self._connection.run(
            jobs.read_held_leases(self._worker_id, [item.execution.lease for item in missing])
        )
        for item in missing:
            if item.job_id in held:
                self._places.write_later(item)
        await self._settle_ended([item for item in missing if item.job_id not in held])

    async def _settle_ended(self, items: Sequence[Unwritten]) -> None:
        """Settle outcomes whose lease is over: written by an earlier write whose answer was lost, or lost."""
        leases = [item.execution.lease for item in items]
        recorded = await self._connection.run(jobs.read_attempt_outcomes(self._worker_id, leases))
        unrecorded = [lease for lease in leases if lease.job_id not in recorded]
        canceled = await self._connection.run(jobs.read_canceled_leases(self._worker_id, unrecorded))
        for item in items:
            found = recorded.get(item.job_id)
            if found is not None and item.is_recorded_as(found):
                self._settler.written(item, is_dead_letter=found.is_dead_letter)
            else:
                self._settler.lost(item, JOB_CANCELED if item.job_id in canceled else LEASE_LOST)

    async def _fail_poison(self, item: Unwritten, error: Exception, failure: JobFailure) -> None:
        """Fail the one job whose outcome cannot be written."""
        job = item.execution.job
        self._logger.error(
            "worker.outcome_refused",
            extra={"job_id": str(job.job_id), "job_type": job.job_type, "code": failure.code},
            exc_info=None if isinstance(error, QueryError) else error,
        )
        item.outcome = Failed(failure=failure, retry_delay=timedelta())  # what is written, or repeated, from now on
        try:
            is_dead_letter = await self._fail_single(item)
        except QueryError as second:
            if is_systemic(second):
                raise
            if second.code == LEASE_LOST:
                await self._settle_ended([item])
            else:
                self._settler.lost(item, second.code)
        else:
            self._settler.written(item, is_dead_letter=is_dead_letter)

    async def _fail_single(self, item: Unwritten) -> bool:
        failure = _failure(item)
        return await self._advance(lambda notices: jobs.fail_job(failure, lock_timeout=LOCK_TIMEOUT, notices=notices))

    async def _advance(self, operation: Callable[[Notices], Operation[T]]) -> T:
        """Run an operation that may end steps of workflows, and pass on what it has to tell."""
        notices = Notices(is_sent_inside=False)
        try:
            return await self._connection.run(operation(notices))
        finally:
            # Also when a part failed: those before it are committed. What was not is told in vain, which harms nobody.
            if notices:
                self._on_advanced(notices)


def _success(item: Unwritten) -> jobs.JobSuccess:
    assert isinstance(item.outcome, Succeeded)  # noqa: S101 (the caller sorted them)
    return jobs.JobSuccess(
        lease=item.execution.lease,
        output_json=item.outcome.output_json,
        # As the claim has told. What is held may wait for a run that was deleted meanwhile, so the ledger is asked.
        workflow_run_id=None if item.is_held else item.execution.job.workflow_run_id,
    )


def _failure(item: Unwritten) -> jobs.AttemptFailure:
    assert isinstance(item.outcome, Failed)  # noqa: S101 (the caller sorted them)
    failure = item.outcome.failure
    return jobs.AttemptFailure(
        lease=item.execution.lease,
        kind=failure.kind,
        error_code=failure.code,
        error_message=failure.message,
        retry_delay=item.outcome.retry_delay,
    )
