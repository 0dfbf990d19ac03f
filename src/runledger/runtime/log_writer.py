"""Write the log lines of running jobs: beside the work, never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from datetime import timedelta

from runledger.core.errors import RunledgerError
from runledger.postgres import Database, DatabaseConnectionError, QueryError, jobs
from runledger.runtime.backoff import Backoff
from runledger.runtime.clock import answer_timeout, monotonic
from runledger.runtime.error_judgement import is_systemic
from runledger.runtime.worker_log import WorkerLog

_MAX_BATCH = 500
_MAX_WAITING_LINES = 10_000
_MAX_WAITING_CHARACTERS = 8 * 1024 * 1024
# Lines gather for so long after a write: a chatty handler costs ten commits a second at most, not one a line.
_GATHER_SECONDS = 0.1
_STOP_SECONDS = 2.0
_SECONDS_BETWEEN_REPORTS = 60.0


class LogWriter:
    """Takes lines from any thread and writes them in batches, on a connection of its own that the first line opens.

    What waits is bounded. While the database is away, or slower than the handlers talk, later lines are lost; how many
    is counted and logged.

    Args:
        database: Where to write.
        worker_id: Whose jobs they are about.
        lease_ttl: A write without an answer for so long is given up with its connection.
    """

    def __init__(self, database: Database, *, worker_id: str, lease_ttl: timedelta) -> None:
        self._logger = WorkerLog("worker", worker_id)
        self._connection = database.own_connection(answer_timeout_seconds=answer_timeout(lease_ttl).total_seconds())
        # A garbage collection in `add` may call a destructor that logs.
        self._lock = threading.RLock()
        self._waiting: deque[jobs.JobLogLine] = deque()
        self._waiting_characters = 0
        self._in_flight = 0
        self._lost = 0
        self._loss_said_at = 0.0
        self._is_told = False
        self._is_closed = False
        self._has_lines = asyncio.Event()
        self._is_hurried = asyncio.Event()
        self._batch_done = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._write_batches())

    def add(self, line: jobs.JobLogLine) -> None:
        """Take a line, or count it as lost. Never waits; may be called in any thread."""
        size = len(line.message) + len(line.payload_json)
        with self._lock:
            is_full = (
                len(self._waiting) >= _MAX_WAITING_LINES or self._waiting_characters + size > _MAX_WAITING_CHARACTERS
            )
            if is_full or self._is_closed:
                self._lost += 1
                return
            self._waiting.append(line)
            self._waiting_characters += size
            if self._is_told:
                return
            self._is_told = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the worker gone with it
                self._loop.call_soon_threadsafe(self._has_lines.set)

    def lose_line(self) -> None:
        """Count a line that could not be made."""
        self._lose(1)

    async def flush(self) -> None:
        """Wait until what was taken so far is written, or given up."""
        self._is_hurried.set()
        try:
            while self._waiting or self._in_flight:
                self._batch_done.clear()
                await self._batch_done.wait()
        finally:
            self._is_hurried.clear()

    async def stop(self) -> None:
        """Write what waits, for a moment, and close the connection. Lines that come later are lost."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.flush()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with self._lock:
            self._is_closed = True
            self._lost += len(self._waiting) + self._in_flight
            self._waiting.clear()
        self._say_loss()
        await self._connection.close()

    async def _write_batches(self) -> None:
        while True:
            await self._has_lines.wait()
            batch = self._take()
            if batch:
                await self._write_until_settled(batch)
                self._in_flight = 0
                self._batch_done.set()
                await self._gather()
            if not self._waiting or monotonic() - self._loss_said_at > _SECONDS_BETWEEN_REPORTS:
                self._say_loss()

    def _take(self) -> list[jobs.JobLogLine]:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))]
            self._waiting_characters -= sum(len(line.message) + len(line.payload_json) for line in batch)
            self._in_flight = len(batch)
            if not batch:
                self._is_told = False
                self._has_lines.clear()
        return batch

    async def _gather(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_SECONDS):
                await self._is_hurried.wait()

    async def _write_until_settled(self, batch: list[jobs.JobLogLine]) -> None:
        """Write a batch, for as long as it takes. What PostgreSQL refuses is halved until each line stands alone."""
        backoff = Backoff()
        parts = [batch]
        while parts:
            part = parts.pop()
            try:
                await self._connection.run(jobs.insert_job_logs(part))
            except RunledgerError as error:
                if isinstance(error, DatabaseConnectionError) or (isinstance(error, QueryError) and is_systemic(error)):
                    if backoff.is_first:
                        self._logger.warning("worker.log_write_failed", extra={"code": error.code})
                    parts.append(part)
                    await asyncio.sleep(backoff.failed())
                elif len(part) == 1:
                    self._lose(1)
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
            except Exception:
                self._logger.exception("worker.log_write_crashed")
                self._lose(len(part))
            else:
                if not backoff.is_first:
                    self._logger.info("worker.log_write_recovered")
                backoff.succeeded()

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count

    def _say_loss(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            self._loss_said_at = monotonic()
            self._logger.warning("worker.log_lines_lost", extra={"line_count": lost})
