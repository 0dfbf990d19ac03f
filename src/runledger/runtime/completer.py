"""Write outcomes: batched without a timer, retried while the lease lives, one bad item never failing its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from runledger.core.jobs.handler import JobFailure
from runledger.postgres import Database, DatabaseConnectionError, Operation, QueryError, jobs
from runledger.postgres.drivers.psycopg.own_connection import AsyncOwnConnection
from runledger.postgres.notices import Notices
from runledger.postgres.sql_errors import COMMIT_UNCONFIRMED, LOCK_NOT_AVAILABLE
from runledger.postgres.workflows.run_lock import BRIEF_LOCK_TIMEOUT
from runledger.runtime.backoff import Backoff
from runledger.runtime.error_judgement import is_systemic, meets_any_statement
from runledger.runtime.execution import Execution
from runledger.runtime.executor import Dropped, Failed, Finished, Outcome, Succeeded
from runledger.runtime.held_outcomes import HeldOutcomes
from runledger.runtime.lifecycle import LifecycleEventKind
from runledger.runtime.outcome_line import OutcomeLine
from runledger.runtime.outcome_queue import OutcomeQueue
from runledger.runtime.unwritten_outcome import Unwritten
from runledger.runtime.worker_log import WorkerLog
from runledger.runtime.write_trouble import WriteTrouble

T = TypeVar("T")

_WRITERS = 2
_BUSY_PAUSES_SECONDS = (0.01, 0.02, 0.04, 0.08)
_LOCK_TIMEOUT = timedelta(seconds=1)
_HELD_PAUSE_SECONDS = 0.1
_SHORTEST_ANSWER_TIMEOUT = timedelta(seconds=5)
_LARGE_RELEASE_TIMEOUT = timedelta(minutes=5)

_LEASE_LOST = "job.lease_owner_mismatch"
_JOB_CANCELED = "job.canceled"


class Completer:
    """Takes outcomes and writes them.

    While a write is in flight the next outcomes gather; when idle an outcome is written at once. At most two batches
    are in flight, each on a connection of its own. What cannot be written with others holds up nobody: it leaves its
    batch, and goes on in one of three places, each with a connection of its own.

    - Somebody keeps its job or its run locked: it is held, with others of that run, and tried again until that ends.
    - PostgreSQL refuses it: it stands in a line whose outcomes are written one by one.
    - More than a thousand steps wait for its step: so it does, in another line.

    The answer to a write may be lost although the write was done. So an outcome is not lost when its lease is gone: the
    ledger tells whether the attempt ended as the outcome says.

    Args:
        database: Where to write.
        worker_id: Whose leases they are.
        lease_ttl: Their time to live. A write without an answer for so long is given up with its connection.
        on_settled: Called for each execution when nothing is left to write, with what happened and the code of the
            failure, or of what kept it from being written.
        on_dead_letter: Called after the commit for each failure that became a dead letter.
        on_advanced: Called after the commit with what the ends of workflow steps have to tell.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        lease_ttl: timedelta,
        on_settled: Callable[[Execution, LifecycleEventKind, str | None], None],
        on_dead_letter: Callable[[Execution, JobFailure], None],
        on_advanced: Callable[[Notices], None],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._logger = WorkerLog("worker", worker_id)
        self._answer_timeout = max(lease_ttl, _SHORTEST_ANSWER_TIMEOUT)
        self._on_settled = on_settled
        self._on_dead_letter = on_dead_letter
        self._on_advanced = on_advanced
        self._trouble = WriteTrouble(worker_id)
        self._queue = OutcomeQueue(_WRITERS)
        self._singles = OutcomeLine(self._answer_timeout + _LOCK_TIMEOUT)
        self._large_releases = OutcomeLine(self._answer_timeout + _LARGE_RELEASE_TIMEOUT)
        self._held = HeldOutcomes()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._unwritten_count = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def unwritten_count(self) -> int:
        """Outcomes that are not in the ledger yet."""
        return self._unwritten_count

    @property
    def burden(self) -> int:
        """Those of them that count when a worker looks whether it may claim: held ones do not, unless they are many."""
        return self._unwritten_count - self._held.uncounted

    async def start(self) -> None:
        """Begin to write."""
        self._tasks = [
            *(asyncio.create_task(self._write_batches(number)) for number in range(_WRITERS)),
            asyncio.create_task(self._write_held()),
            asyncio.create_task(self._write_line(self._singles)),
            asyncio.create_task(self._write_line(self._large_releases)),
        ]

    def submit(self, execution: Execution, outcome: Outcome) -> None:
        """Take the outcome of an execution."""
        if isinstance(outcome, Finished):
            self._on_settled(execution, LifecycleEventKind.SUCCEEDED, None)
            return
        if isinstance(outcome, Dropped):
            self._lost(execution, outcome.code)
            return
        self._unwritten_count += 1
        self._is_empty.clear()
        item = Unwritten(execution, outcome)
        if item.releases_many:
            self._stand_in_line(item)
        elif self._held.holds_run_of(item) and isinstance(outcome, Succeeded):
            self._held.add(item)  # a batch would wait for the run in vain; a failure may need only the job
        else:
            self._queue.add(item)

    async def drain(self) -> None:
        """Wait until every outcome is settled."""
        await self._is_empty.wait()

    async def stop(self) -> None:
        """Stop writing. Call :meth:`drain` first; what is unwritten then is left to the reaper."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _write_batches(self, writer: int) -> None:
        connection = self._own_connection(self._answer_timeout)
        try:
            while True:
                await self._write_until_settled(connection, await self._queue.take(writer))
        finally:
            await connection.close()

    async def _write_until_settled(self, connection: AsyncOwnConnection, batch: list[Unwritten]) -> None:
        backoff = Backoff()
        parts = [batch]
        while parts:
            failed = await self._write_parts(connection, parts)
            parts = [part for part in map(self._still_to_write, failed) if part]
            if parts:
                await asyncio.sleep(backoff.failed())

    async def _write_parts(self, connection: AsyncOwnConnection, parts: list[list[Unwritten]]) -> list[list[Unwritten]]:
        """Write each part and return what to try next time. What failed is halved, until each item stands alone."""
        again: list[list[Unwritten]] = []
        for position, part in enumerate(parts):
            try:
                await self._write(connection, part)
            except Exception as error:  # noqa: BLE001 (logged; a writer must not end, or outcomes pile up unseen)
                self._trouble.failed(error, len(part))
                if isinstance(error, DatabaseConnectionError):
                    return [*again, *parts[position:]]
                again += self._halve(part)
            else:
                self._trouble.written(self._unwritten_count)
        return again

    async def _write(
        self, connection: AsyncOwnConnection, batch: list[Unwritten], *, run_wait: timedelta = BRIEF_LOCK_TIMEOUT
    ) -> None:
        late = [item for item in batch if item.seconds_late() >= 0]
        if late:
            await self._settle_ended(connection, late)
        successes = [item for item in batch if isinstance(item.outcome, Succeeded) and not item.is_settled]
        plain = [item for item in successes if item.is_plain]
        if plain:
            await self._write_group(connection, plain, self._complete_plain)
        of_workflows = [item for item in successes if not item.is_plain]
        if of_workflows:
            await self._write_group(connection, of_workflows, partial(self._complete_of_workflows, run_wait=run_wait))
        failures = [item for item in batch if isinstance(item.outcome, Failed) and not item.is_settled]
        if failures:
            await self._write_group(connection, failures, partial(self._fail, run_wait=run_wait))

    async def _write_group(
        self,
        connection: AsyncOwnConnection,
        group: list[Unwritten],
        write: Callable[[AsyncOwnConnection, list[Unwritten]], Awaitable[set[UUID]]],
    ) -> None:
        try:
            written = await write(connection, group)
        except DatabaseConnectionError:
            raise
        except Exception as error:  # also TypeError and the like: an outcome that cannot be encoded
            if isinstance(error, QueryError) and meets_any_statement(error):
                raise
        else:
            if len(written) < len(group):
                await self._sort_out(connection, [item for item in group if item.job_id not in written])
            return
        for half in self._halve(group):
            await self._write_group(connection, half, write)

    def _halve(self, group: Iterable[Unwritten]) -> list[list[Unwritten]]:
        """Return the halves of what is still to write. An item that stands alone goes on in the line of its own."""
        rest = [item for item in group if not item.is_settled]
        if len(rest) > 1:
            middle = len(rest) // 2
            return [rest[:middle], rest[middle:]]
        for item in rest:
            self._set_aside(item)
        return []

    async def _complete_plain(self, connection: AsyncOwnConnection, group: list[Unwritten]) -> set[UUID]:
        complete = jobs.complete_jobs(self._worker_id, [_success(item) for item in group], are_plain=True)
        return self._completed(group, await connection.run(complete))

    async def _complete_of_workflows(
        self, connection: AsyncOwnConnection, group: list[Unwritten], *, run_wait: timedelta
    ) -> set[UUID]:
        successes = [_success(item) for item in group]
        completed = await self._advance(
            connection,
            lambda notices: jobs.complete_jobs(self._worker_id, successes, run_wait=run_wait, notices=notices),
        )
        return self._completed(group, completed)

    def _completed(self, group: list[Unwritten], written: set[UUID]) -> set[UUID]:
        for item in group:
            if len(written) == len(group) or item.job_id in written:
                self._settle_written(item, is_dead_letter=False)
        return written

    async def _fail(self, connection: AsyncOwnConnection, group: list[Unwritten], *, run_wait: timedelta) -> set[UUID]:
        failures = [_failure(item) for item in group]
        dead_letters = await self._advance(
            connection,
            lambda notices: jobs.fail_jobs(self._worker_id, failures, run_wait=run_wait, notices=notices),
        )
        for item in group:
            if item.job_id in dead_letters:
                self._settle_written(item, is_dead_letter=dead_letters[item.job_id])
        return set(dead_letters)

    async def _sort_out(self, connection: AsyncOwnConnection, missing: Sequence[Unwritten]) -> None:
        """Tell apart what the batch left out: rows locked by somebody else, and leases that are gone."""
        held = await connection.run(jobs.read_held_leases(self._worker_id, [item.execution.lease for item in missing]))
        for item in missing:
            if item.job_id in held:
                self._write_later(item)
        await self._settle_ended(connection, [item for item in missing if item.job_id not in held])

    async def _settle_ended(self, connection: AsyncOwnConnection, items: Sequence[Unwritten]) -> None:
        """Settle outcomes whose lease is over: written by an earlier write whose answer was lost, or lost."""
        leases = [item.execution.lease for item in items]
        recorded = await connection.run(jobs.read_attempt_outcomes(self._worker_id, leases))
        unrecorded = [lease for lease in leases if lease.job_id not in recorded]
        canceled = await connection.run(jobs.read_canceled_leases(self._worker_id, unrecorded))
        for item in items:
            found = recorded.get(item.job_id)
            if found is not None and item.is_recorded_as(found):
                self._settle_written(item, is_dead_letter=found.is_dead_letter)
            else:
                self._settle_lost(item, _JOB_CANCELED if item.job_id in canceled else _LEASE_LOST)

    async def _advance(self, connection: AsyncOwnConnection, operation: Callable[[Notices], Operation[T]]) -> T:
        """Run an operation that may end steps of workflows, and pass on what it has to tell."""
        notices = Notices(is_sent_inside=False)
        try:
            return await connection.run(operation(notices))
        finally:
            # Also when a part failed: those before it are committed. What was not is told in vain, which harms nobody.
            if notices:
                self._on_advanced(notices)

    async def _write_held(self) -> None:
        """Try what is held again and again: all of it without waiting, then one group in turn, waiting for its lock.

        So no group waits for the lock of another, and each waits in the queue of its own lock now and then, where it
        has its turn also when many others want it.
        """
        connection = self._own_connection(self._answer_timeout)
        backoff = Backoff()
        try:
            while True:
                await self._held.until_filled()
                try:
                    for batch in self._held.batches():
                        await self._write(connection, batch, run_wait=timedelta())
                    self._held.let_go_settled()
                    if self._held.count:
                        await self._write_next_group(connection)
                except Exception as error:  # noqa: BLE001 (logged; the writer must not end)
                    self._trouble.failed(error, self._held.count)
                    self._still_to_write(item for batch in self._held.batches() for item in batch)
                    await asyncio.sleep(backoff.failed())
                else:
                    backoff.succeeded()
                    self._trouble.written(self._unwritten_count)
                    await asyncio.sleep(_HELD_PAUSE_SECONDS)
                self._held.let_go_settled()
                self._trouble.held(self._held)
        finally:
            await connection.close()

    async def _write_next_group(self, connection: AsyncOwnConnection) -> None:
        group = self._held.next_group()
        if group[0].is_plain:
            await self._write_single(connection, group[0])
        else:
            await self._write(connection, group, run_wait=_LOCK_TIMEOUT)

    async def _write_line(self, line: OutcomeLine) -> None:
        connection = self._own_connection(line.answer_timeout)
        backoff = Backoff()
        try:
            while True:
                item = await line.next()
                try:
                    await self._write_single(connection, item)
                except Exception as error:  # noqa: BLE001 (logged; the writer must not end)
                    self._trouble.failed(error, 1)
                    line.add(item)
                    # Those that nobody told anything about for so long are given up: their turn may be far away.
                    line.keep(self._still_to_write(line.items))
                    await asyncio.sleep(backoff.failed())
                else:
                    backoff.succeeded()
                    self._trouble.written(self._unwritten_count)
        finally:
            await connection.close()

    async def _write_single(self, connection: AsyncOwnConnection, item: Unwritten) -> None:
        if item.seconds_late() >= 0:
            await self._settle_ended(connection, [item])
            return
        try:
            if isinstance(item.outcome, Succeeded):
                success = _success(item)
                await self._advance(
                    connection, lambda notices: jobs.complete_job(success, lock_timeout=_LOCK_TIMEOUT, notices=notices)
                )
                self._settle_written(item, is_dead_letter=False)
            else:
                self._settle_written(item, is_dead_letter=await self._fail_single(connection, item))
        except DatabaseConnectionError:
            raise
        except QueryError as error:
            if error.code == _LEASE_LOST:
                await self._settle_ended(connection, [item])
            elif error.sqlstate == LOCK_NOT_AVAILABLE:
                self._hold(item)
            elif is_systemic(error):
                raise
            else:
                await self._fail_poison(connection, item, error, JobFailure.terminal(error.code, error.client_message))
        except Exception as error:  # noqa: BLE001 (no statement was made of it: the outcome is a broken object)
            text = f"the outcome could not be written: {type(error).__name__}"
            await self._fail_poison(connection, item, error, JobFailure.terminal("job.outcome_unwritable", text))

    async def _fail_poison(
        self, connection: AsyncOwnConnection, item: Unwritten, error: Exception, failure: JobFailure
    ) -> None:
        """Fail the one job whose outcome cannot be written."""
        job = item.execution.job
        self._logger.error(
            "worker.outcome_refused",
            extra={"job_id": str(job.job_id), "job_type": job.job_type, "code": failure.code},
            exc_info=None if isinstance(error, QueryError) else error,
        )
        item.outcome = Failed(failure=failure, retry_delay=timedelta())  # what is written, or repeated, from now on
        try:
            is_dead_letter = await self._fail_single(connection, item)
        except QueryError as second:
            if is_systemic(second):
                raise
            if second.code == _LEASE_LOST:
                await self._settle_ended(connection, [item])
            else:
                self._settle_lost(item, second.code)
        else:
            self._settle_written(item, is_dead_letter=is_dead_letter)

    async def _fail_single(self, connection: AsyncOwnConnection, item: Unwritten) -> bool:
        failure = _failure(item)
        return await self._advance(
            connection, lambda notices: jobs.fail_job(failure, lock_timeout=_LOCK_TIMEOUT, notices=notices)
        )

    def _own_connection(self, answer_timeout: timedelta) -> AsyncOwnConnection:
        return self._database.own_connection(answer_timeout_seconds=answer_timeout.total_seconds())

    def _write_later(self, item: Unwritten) -> None:
        """Write an outcome whose row is locked again: some times with others, a little later each time, then hold it.

        Mostly it is the claim of another worker that has locked it. It saw the job waiting, came to the row when it was
        claimed here already, finds nothing to claim, and lets go of the row with its own commit milliseconds later. In
        a backlog that two workers share there are hundreds of them, which one by one would hold up both. A run was
        waited for already.
        """
        if item.is_held or item.busy_count == len(_BUSY_PAUSES_SECONDS) or not item.is_plain:
            self._hold(item)
            return
        item.is_settled = True  # for its batch
        again = Unwritten(item.execution, item.outcome, busy_count=item.busy_count + 1)
        pause = _BUSY_PAUSES_SECONDS[item.busy_count]
        asyncio.get_running_loop().call_later(pause, self._queue.add, again)

    def _hold(self, item: Unwritten) -> None:
        """Keep what somebody has locked until it is free, unless it is kept already."""
        if item.is_held:
            return
        item.is_settled = True  # for its batch; the same outcome goes on here
        again = Unwritten(item.execution, item.outcome)
        if again.releases_many:
            self._stand_in_line(again)  # at its end, so that the others get their turn
        else:
            self._held.add(again)

    def _set_aside(self, item: Unwritten) -> None:
        item.is_settled = True  # for its batch; the same outcome goes on alone
        self._stand_in_line(Unwritten(item.execution, item.outcome))

    def _stand_in_line(self, item: Unwritten) -> None:
        (self._large_releases if item.releases_many else self._singles).add(item)

    def _still_to_write(self, items: Iterable[Unwritten]) -> list[Unwritten]:
        """Return what is not settled. A lease that has been over for long while nobody could be asked settles it."""
        unsettled = [item for item in items if not item.is_settled]
        for item in unsettled:
            if item.seconds_late() >= self._answer_timeout.total_seconds():
                self._settle_lost(item, COMMIT_UNCONFIRMED)
        return [item for item in unsettled if not item.is_settled]

    def _settle_written(self, item: Unwritten, *, is_dead_letter: bool) -> None:
        outcome = item.outcome
        self._settle(item)
        if isinstance(outcome, Succeeded):
            self._on_settled(item.execution, LifecycleEventKind.SUCCEEDED, None)
            return
        kind = LifecycleEventKind.DEAD_LETTERED if is_dead_letter else LifecycleEventKind.RETRY_SCHEDULED
        self._on_settled(item.execution, kind, outcome.failure.code)
        if is_dead_letter:
            self._on_dead_letter(item.execution, outcome.failure)

    def _settle_lost(self, item: Unwritten, code: str) -> None:
        self._settle(item)
        self._lost(item.execution, code)

    def _settle(self, item: Unwritten) -> None:
        item.is_settled = True
        self._unwritten_count -= 1
        if self._unwritten_count == 0:
            self._is_empty.set()

    def _lost(self, execution: Execution, code: str) -> None:
        job = execution.job
        facts = {"job_id": str(job.job_id), "job_type": job.job_type, "attempt": job.attempt}
        if code == _JOB_CANCELED:  # somebody wanted it so
            self._logger.info("worker.job_canceled", extra=facts)
            self._on_settled(execution, LifecycleEventKind.CANCELED, code)
        else:
            self._logger.warning("worker.outcome_not_written", extra=facts | {"code": code})
            self._on_settled(execution, LifecycleEventKind.LEASE_LOST, code)


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
