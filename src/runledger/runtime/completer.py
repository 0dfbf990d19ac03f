"""Write outcomes: batched without a timer, retried while the lease lives, one bad item never failing its neighbours."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from runledger.core.jobs.handler import JobFailure
from runledger.postgres import Database, DatabaseConnectionError, QueryError, jobs
from runledger.postgres.document import MAX_BATCH_BYTES
from runledger.postgres.drivers.psycopg.own_connection import AsyncOwnConnection
from runledger.runtime.backoff import Backoff
from runledger.runtime.error_judgement import is_systemic, meets_any_statement
from runledger.runtime.execution import Execution, monotonic
from runledger.runtime.executor import Dropped, Failed, Outcome, Succeeded

_logger = logging.getLogger("runledger.worker")

_WRITERS = 2
_MAX_BATCH = 500
_LOCK_TIMEOUT = timedelta(seconds=5)
_SHORTEST_ANSWER_TIMEOUT = timedelta(seconds=5)

_LOCK_NOT_AVAILABLE = "55P03"

_LEASE_LOST = "job.lease_owner_mismatch"
_JOB_CANCELED = "job.canceled"


@dataclass(slots=True, eq=False)
class _Unwritten:
    """An outcome on its way into the ledger."""

    execution: Execution
    outcome: Succeeded | Failed
    is_settled: bool = False

    @property
    def job_id(self) -> UUID:
        return self.execution.job.job_id


class Completer:
    """Takes outcomes and writes them.

    While a write is in flight the next outcomes gather; when idle an outcome is written at once. At most two batches
    are in flight, each on a connection of its own. An outcome that cannot be written with others, because somebody
    has locked its row or PostgreSQL refuses it, leaves its batch and joins a line of its own, where outcomes are
    written one by one on a third connection, so that it holds up nobody.

    Args:
        database: Where to write.
        worker_id: Whose leases they are.
        lease_ttl: Their time to live. A write without an answer for so long is given up with its connection.
        on_settled: Called for each execution when nothing is left to write: written, lost, or given up.
        on_dead_letter: Called after the commit for each failure that became a dead letter.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        lease_ttl: timedelta,
        on_settled: Callable[[Execution], None],
        on_dead_letter: Callable[[Execution, JobFailure], None],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._answer_timeout = max(lease_ttl, _SHORTEST_ANSWER_TIMEOUT)
        self._on_settled = on_settled
        self._on_dead_letter = on_dead_letter
        self._pending: deque[_Unwritten] = deque()
        self._singles: deque[_Unwritten] = deque()
        self._has_pending = asyncio.Event()
        self._has_singles = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._unwritten_count = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def unwritten_count(self) -> int:
        """Outcomes that are not in the ledger yet."""
        return self._unwritten_count

    async def start(self) -> None:
        """Begin to write."""
        self._tasks = [
            *(asyncio.create_task(self._write_batches()) for _ in range(_WRITERS)),
            asyncio.create_task(self._write_singles()),
        ]

    def submit(self, execution: Execution, outcome: Outcome) -> None:
        """Take the outcome of an execution."""
        if isinstance(outcome, Dropped):
            execution.is_given_up = outcome.code not in {_LEASE_LOST, _JOB_CANCELED}
            self._log_lost(execution, outcome.code)
            self._on_settled(execution)
            return
        self._unwritten_count += 1
        self._is_empty.clear()
        self._pending.append(_Unwritten(execution, outcome))
        self._has_pending.set()

    async def drain(self) -> None:
        """Wait until every outcome is settled."""
        await self._is_empty.wait()

    async def stop(self) -> None:
        """Stop writing. Call :meth:`drain` first; what is unwritten then is left to the reaper."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _write_batches(self) -> None:
        connection = self._own_connection(self._answer_timeout)
        try:
            while True:
                await self._has_pending.wait()
                batch = _take(self._pending)
                if not self._pending:
                    self._has_pending.clear()
                await self._write_until_settled(connection, batch)
        finally:
            await connection.close()

    async def _write_until_settled(self, connection: AsyncOwnConnection, batch: list[_Unwritten]) -> None:
        backoff = Backoff()
        parts = [batch] if batch else []
        while parts:
            failed = await self._write_parts(connection, parts, is_first=backoff.is_first)
            parts = [part for part in map(self._still_to_write, failed) if part]
            if parts:
                await asyncio.sleep(backoff.failed())

    async def _write_parts(
        self, connection: AsyncOwnConnection, parts: list[list[_Unwritten]], *, is_first: bool
    ) -> list[list[_Unwritten]]:
        """Write each part and return what to try next time. What failed is halved, until each item stands alone."""
        again: list[list[_Unwritten]] = []
        for position, part in enumerate(parts):
            try:
                await self._write(connection, part)
            except Exception as error:  # noqa: BLE001 (logged; a writer must not end, or outcomes pile up unseen)
                if is_first:
                    _log_failed_write(error, len(part))
                if isinstance(error, DatabaseConnectionError):
                    return [*again, *parts[position:]]
                again += self._halve(part)
        return again

    async def _write(self, connection: AsyncOwnConnection, batch: list[_Unwritten]) -> None:
        successes = [item for item in batch if isinstance(item.outcome, Succeeded)]
        if successes:
            await self._write_group(connection, successes, self._complete)
        failures = [item for item in batch if isinstance(item.outcome, Failed)]
        if failures:
            await self._write_group(connection, failures, self._fail)

    async def _write_group(
        self,
        connection: AsyncOwnConnection,
        group: list[_Unwritten],
        write: Callable[[AsyncOwnConnection, list[_Unwritten]], Awaitable[set[UUID]]],
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

    def _halve(self, group: Iterable[_Unwritten]) -> list[list[_Unwritten]]:
        """Return the halves of what is still to write. An item that stands alone goes on in the line of its own."""
        rest = [item for item in group if not item.is_settled]
        if len(rest) > 1:
            middle = len(rest) // 2
            return [rest[:middle], rest[middle:]]
        for item in rest:
            self._set_aside(item)
        return []

    async def _complete(self, connection: AsyncOwnConnection, group: list[_Unwritten]) -> set[UUID]:
        written = await connection.run(jobs.complete_jobs(self._worker_id, [_success(item) for item in group]))
        for item in group:
            if len(written) == len(group) or item.job_id in written:
                self._settle(item)
        return written

    async def _fail(self, connection: AsyncOwnConnection, group: list[_Unwritten]) -> set[UUID]:
        dead_letters = await connection.run(jobs.fail_jobs(self._worker_id, [_failure(item) for item in group]))
        for item in group:
            if item.job_id in dead_letters:
                self._settle_failed(item, is_dead_letter=dead_letters[item.job_id])
        return set(dead_letters)

    async def _sort_out(self, connection: AsyncOwnConnection, missing: Sequence[_Unwritten]) -> None:
        """Tell apart what the batch left out: rows locked by somebody else, and leases that are gone."""
        held = await connection.run(jobs.read_held_leases(self._worker_id, [item.execution.lease for item in missing]))
        lost = [item for item in missing if item.job_id not in held]
        canceled = await connection.run(
            jobs.read_canceled_leases(self._worker_id, [item.execution.lease for item in lost])
        )
        for item in missing:
            if item.job_id in held:
                self._set_aside(item)
            else:
                self._settle(item)
                self._log_lost(item.execution, _JOB_CANCELED if item.job_id in canceled else _LEASE_LOST)

    async def _write_singles(self) -> None:
        connection = self._own_connection(self._answer_timeout + _LOCK_TIMEOUT)
        backoff = Backoff()
        try:
            while True:
                await self._has_singles.wait()
                item = self._singles.popleft()
                if not self._singles:
                    self._has_singles.clear()
                try:
                    await self._write_single(connection, item)
                except Exception as error:  # noqa: BLE001 (logged; the writer must not end)
                    if backoff.is_first:
                        _log_failed_write(error, 1)
                    self._stand_in_line(item)
                    self._give_up_late_singles()
                    await asyncio.sleep(backoff.failed())
                else:
                    backoff.succeeded()
        finally:
            await connection.close()

    async def _write_single(self, connection: AsyncOwnConnection, item: _Unwritten) -> None:
        try:
            if isinstance(item.outcome, Succeeded):
                await connection.run(jobs.complete_job(_success(item), lock_timeout=_LOCK_TIMEOUT))
                self._settle(item)
            else:
                is_dead_letter = await connection.run(jobs.fail_job(_failure(item), lock_timeout=_LOCK_TIMEOUT))
                self._settle_failed(item, is_dead_letter=is_dead_letter)
        except DatabaseConnectionError:
            raise
        except QueryError as error:
            if error.code == _LEASE_LOST:
                await self._sort_out(connection, [item])
            elif error.sqlstate == _LOCK_NOT_AVAILABLE:
                if not self._give_up_if_late(item):
                    self._stand_in_line(item)  # at its end, so that the others get their turn
            elif is_systemic(error):
                raise
            else:
                await self._fail_poison(connection, item, error, JobFailure.terminal(error.code, error.client_message))
        except Exception as error:  # noqa: BLE001 (no statement was made of it: the outcome is a broken object)
            text = f"the outcome could not be written: {type(error).__name__}"
            await self._fail_poison(connection, item, error, JobFailure.terminal("job.outcome_unwritable", text))

    async def _fail_poison(
        self, connection: AsyncOwnConnection, item: _Unwritten, error: Exception, failure: JobFailure
    ) -> None:
        """Fail the one job whose outcome cannot be written."""
        job = item.execution.job
        _logger.error(
            "worker.outcome_refused",
            extra={"job_id": str(job.job_id), "job_type": job.job_type, "code": failure.code},
            exc_info=None if isinstance(error, QueryError) else error,
        )
        refused = _attempt_failure(item.execution, failure)
        try:
            is_dead_letter = await connection.run(jobs.fail_job(refused, lock_timeout=_LOCK_TIMEOUT))
        except QueryError as second:
            if is_systemic(second):
                raise  # and refused and failed once more, when the database is well again
            item.execution.is_given_up = second.code != _LEASE_LOST
            self._settle(item)
            self._log_lost(item.execution, second.code)
        else:
            self._settle(item)
            if is_dead_letter:
                self._on_dead_letter(item.execution, failure)

    def _own_connection(self, answer_timeout: timedelta) -> AsyncOwnConnection:
        return self._database.own_connection(answer_timeout_seconds=answer_timeout.total_seconds())

    def _set_aside(self, item: _Unwritten) -> None:
        item.is_settled = True  # for its batch; the same outcome goes on alone
        self._stand_in_line(_Unwritten(item.execution, item.outcome))

    def _stand_in_line(self, item: _Unwritten) -> None:
        self._singles.append(item)
        self._has_singles.set()

    def _give_up_late_singles(self) -> None:
        """Give up those whose lease has ended now: their turn may be far away."""
        remaining = self._still_to_write(self._singles)
        self._singles.clear()
        self._singles.extend(remaining)
        if not remaining:
            self._has_singles.clear()

    def _still_to_write(self, items: Iterable[_Unwritten]) -> list[_Unwritten]:
        return [item for item in items if not item.is_settled and not self._give_up_if_late(item)]

    def _settle_failed(self, item: _Unwritten, *, is_dead_letter: bool) -> None:
        self._settle(item)
        if is_dead_letter and isinstance(item.outcome, Failed):
            self._on_dead_letter(item.execution, item.outcome.failure)

    def _settle(self, item: _Unwritten) -> None:
        item.is_settled = True
        self._unwritten_count -= 1
        if self._unwritten_count == 0:
            self._is_empty.set()
        self._on_settled(item.execution)

    def _give_up_if_late(self, item: _Unwritten) -> bool:
        if item.execution.lease_good_until > monotonic():
            return False
        item.execution.is_given_up = True
        self._settle(item)
        self._log_lost(item.execution, _LEASE_LOST)
        return True

    def _log_lost(self, execution: Execution, code: str) -> None:
        job = execution.job
        facts = {"job_id": str(job.job_id), "job_type": job.job_type, "attempt": job.attempt}
        if code == _JOB_CANCELED:  # somebody wanted it so
            _logger.info("worker.job_canceled", extra=facts)
        else:
            _logger.warning("worker.outcome_not_written", extra=facts | {"code": code})


def _take(queue: deque[_Unwritten]) -> list[_Unwritten]:
    """Take a batch: what one statement can carry, and at least one item.

    A job id occurs once in it: the statement's document is keyed by it.
    """
    batch: dict[UUID, _Unwritten] = {}
    room = MAX_BATCH_BYTES
    while queue and len(batch) < _MAX_BATCH and queue[0].job_id not in batch:
        room -= _output_size(queue[0].outcome)
        if room < 0 and batch:
            break
        item = queue.popleft()
        batch[item.job_id] = item
    return list(batch.values())


def _output_size(outcome: Succeeded | Failed) -> int:
    if isinstance(outcome, Failed) or outcome.output_json is None:
        return 0  # the text of a failure is cut when it is stored
    return len(outcome.output_json.encode())


def _success(item: _Unwritten) -> jobs.JobSuccess:
    assert isinstance(item.outcome, Succeeded)  # noqa: S101 (the caller sorted them)
    return jobs.JobSuccess(lease=item.execution.lease, output_json=item.outcome.output_json)


def _failure(item: _Unwritten) -> jobs.AttemptFailure:
    assert isinstance(item.outcome, Failed)  # noqa: S101 (the caller sorted them)
    return _attempt_failure(item.execution, item.outcome.failure, retry_delay=item.outcome.retry_delay)


def _attempt_failure(
    execution: Execution, failure: JobFailure, *, retry_delay: timedelta = timedelta()
) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(
        lease=execution.lease,
        kind=failure.kind,
        error_code=failure.code,
        error_message=failure.message,
        retry_delay=retry_delay,
    )


def _log_failed_write(error: Exception, job_count: int) -> None:
    if isinstance(error, DatabaseConnectionError | QueryError):
        _logger.warning("worker.outcome_write_failed", extra={"code": error.code, "job_count": job_count})
    else:
        _logger.error("worker.outcome_write_crashed", extra={"job_count": job_count}, exc_info=error)
