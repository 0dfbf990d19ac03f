"""Write what handlers report on their way: progress and checkpoints."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.core.jobs.handler import JobProgress
from runledger.postgres import Database, DatabaseConnectionError, QueryError, jobs
from runledger.postgres.document import MAX_BATCH_BYTES
from runledger.postgres.sql_errors import LEASE_LOST
from runledger.runtime.backoff import Backoff
from runledger.runtime.clock import answer_timeout, monotonic
from runledger.runtime.error_judgement import is_systemic
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.worker_log import WorkerLog

_MAX_BATCH = 500
_LOCK_TIMEOUT = timedelta(seconds=5)
_STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An update, and the future of whether a batch has written it."""

    update: jobs.JobProgressUpdate
    is_written: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ProgressWriter:
    """Takes progress from handlers and returns when it is in the ledger.

    While a write is in flight the next updates gather; when idle an update is written at once. What a batch leaves
    out, because its row is locked, its values are refused or its lease is gone, is written alone on a second
    connection, where the answer is about that update only. A database that is away is waited for while the lease
    lasts.

    Args:
        database: Where to write.
        worker_id: Whose leases they are.
        lease_ttl: Their time to live. A write without an answer for so long is given up with its connection.
    """

    def __init__(self, database: Database, *, worker_id: str, lease_ttl: timedelta) -> None:
        self._worker_id = worker_id
        self._logger = WorkerLog("worker", worker_id)
        timeout = answer_timeout(lease_ttl)
        self._together = database.own_connection(answer_timeout_seconds=timeout.total_seconds())
        self._alone = database.own_connection(answer_timeout_seconds=(timeout + _LOCK_TIMEOUT).total_seconds())
        self._alone_turn = asyncio.Lock()
        self._pending: deque[_Waiting] = deque()
        self._batches: asyncio.Task[None] | None = None
        self._writing: set[asyncio.Task[Any]] = set()
        self._is_stopped = False

    async def write(self, execution: Execution, progress: JobProgress) -> None:
        """Write the progress of an attempt.

        Raises:
            asyncio.CancelledError: The lease is lost, so the handler is canceled.
            InvalidArgumentError: The progress says nothing, or its checkpoint is no JSON that PostgreSQL can store.
            QueryError: PostgreSQL refuses the values; with the stored counts, more may be done than there is.
        """
        if self._is_stopped:
            raise asyncio.CancelledError
        update = jobs.JobProgressUpdate(lease=execution.lease, progress=progress)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        self._writing.add(task)
        try:
            await self._write_until_answered(execution, update)
        finally:
            self._writing.discard(task)

    async def stop(self) -> None:
        """Close the connections. Handlers that still wait for a write, or come later, are canceled."""
        self._is_stopped = True
        tasks = list(self._writing) if self._batches is None else [self._batches, *self._writing]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        await self._together.close()
        await self._alone.close()

    async def _write_until_answered(self, execution: Execution, update: jobs.JobProgressUpdate) -> None:
        backoff = Backoff()
        while True:
            if await self._write_together(update):
                return
            delaying: RunledgerError
            try:
                async with self._alone_turn:
                    await self._alone.run(jobs.update_job_progress(update, lock_timeout=_LOCK_TIMEOUT))
            except DatabaseConnectionError as error:
                delaying = error
            except QueryError as error:
                if error.code != LEASE_LOST and not is_systemic(error):
                    raise
                delaying = error
            else:
                return
            if delaying.code == LEASE_LOST:
                await _cancel(execution, CancelCause.LEASE_LOST)
            if execution.lease_good_until <= monotonic():
                await _cancel(execution, CancelCause.LEASE_MAINTENANCE_FAILED)
            if backoff.is_first:
                self._logger.warning(
                    "worker.progress_delayed", extra={"job_id": str(execution.job.job_id), "code": delaying.code}
                )
            await asyncio.sleep(backoff.failed())

    async def _write_together(self, update: jobs.JobProgressUpdate) -> bool:
        """Write an update with those of other handlers; ``False`` when it has to be written alone."""
        waiting = _Waiting(update)
        self._pending.append(waiting)
        if self._batches is None or self._batches.done():
            self._batches = asyncio.create_task(self._write_pending())
        return await waiting.is_written

    async def _write_pending(self) -> None:
        while batch := _take(self._pending):
            written: set[UUID] = set()
            try:
                updates = [waiting.update for waiting in batch]
                written = await self._together.run(jobs.update_progress_of_jobs(self._worker_id, updates))
            except RunledgerError:
                pass  # whatever it was, each of them finds out alone what it means for itself
            for waiting in batch:
                if not waiting.is_written.done():  # its handler may have been canceled meanwhile
                    waiting.is_written.set_result(waiting.update.lease.job_id in written)


async def _cancel(execution: Execution, cause: CancelCause) -> NoReturn:
    """Cancel the handler, and whoever waits for the write."""
    execution.cancel(cause)
    # In the handler's own task the cancellation arrives here, once. Elsewhere (a task that the handler has started, a
    # thread) it is raised.
    await asyncio.sleep(0)
    raise asyncio.CancelledError


def _take(queue: deque[_Waiting]) -> list[_Waiting]:
    """Take a batch: what one statement can carry, and at least one update.

    A job id occurs once in it: the statement's document is keyed by it.
    """
    batch: dict[UUID, _Waiting] = {}
    room = MAX_BATCH_BYTES
    while queue and len(batch) < _MAX_BATCH and queue[0].update.lease.job_id not in batch:
        # Four bytes is the most that a character takes.
        room -= 4 * len(queue[0].update.checkpoint_json or "")
        if batch and room < 0:
            break
        waiting = queue.popleft()
        batch[waiting.update.lease.job_id] = waiting
    return list(batch.values())
