"""The listener: hears that jobs are due or canceled, so that a worker need not find out by itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.postgres import Database
from runledger.postgres.notices import Cancellation, InvalidNoticeError, WakeUp, decode_notice
from runledger.runtime.backoff import Backoff
from runledger.runtime.clock import monotonic
from runledger.runtime.wait import WakeableWait
from runledger.runtime.worker_log import WorkerLog

# A connection that was lost sooner is no reason to hurry with the next one.
_LASTING_SECONDS = 5.0
# Jobs due within the same fraction of a second are one wake-up, so that no flood of notices fills the memory.
_ALARM_SECONDS = 0.02


class Listener:
    """Passes on what is notified about the jobs of a schema, on a connection of its own.

    What it passes on are hints. Nothing is lost for good when the connection is: the worker polls, and it is woken once
    after each connect, because of what may have been missed. Behind a pooler nothing can be heard, so it ends.

    Args:
        database: The database that holds the jobs.
        job_types: The types whose jobs matter.
        on_due: Called when jobs of them are due, with the earliest due time by the database's clock, if it is known.
        on_canceled: Called with the ids of jobs that were canceled while some worker held them.
        worker_id: The worker that listens, for the log.
    """

    def __init__(
        self,
        database: Database,
        *,
        job_types: Collection[str],
        on_due: Callable[[datetime | None], None],
        on_canceled: Callable[[Collection[UUID]], None],
        worker_id: str,
    ) -> None:
        self._logger = WorkerLog("listener", worker_id)
        self._connection = database.listening_connection()
        self._job_types = frozenset(job_types)
        self._on_due = on_due
        self._on_canceled = on_canceled
        self._backoff = Backoff()
        self._wait = WakeableWait()
        self._connected_at: float | None = None
        self._alarms: dict[int, asyncio.TimerHandle] = {}
        self._is_useless = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, and return once it listens or cannot yet: a worker works without it."""
        await self._connect_quietly()
        self._loop = asyncio.create_task(self._listen_until_stopped())

    async def stop(self) -> None:
        """Stop listening and close the connection."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        await self._connection.close()

    def wake(self) -> None:
        """Try to connect now, if the connection is lost."""
        self._wait.wake()

    async def run_once(self) -> int:
        """Connect if need be, wait for notifications, and return how many came."""
        if self._connected_at is None:
            await self._connect()
        if self._is_useless:
            return 0
        try:
            payloads = await self._connection.hear()
        except RunledgerError:
            if self._connected_at is not None and monotonic() - self._connected_at > _LASTING_SECONDS:
                self._backoff.succeeded()
            self._connected_at = None
            raise
        for payload in payloads:
            self._pass_on(payload)
        return len(payloads)

    async def _listen_until_stopped(self) -> None:
        while not self._is_useless:
            try:
                await self.run_once()
            except RunledgerError as error:
                await self._wait.wait(self._failed(error))
            except Exception:
                # A defect of ours must not end the wake-ups while the process looks alive.
                self._logger.exception("listener.crashed")
                await self._wait.wait(self._backoff.failed())

    async def _connect_quietly(self) -> None:
        try:
            await self._connect()
        except RunledgerError as error:
            self._failed(error)

    def _failed(self, error: RunledgerError) -> float:
        if self._backoff.is_first:
            self._logger.warning("listener.connection_lost", extra={"code": error.code})
        return self._backoff.failed()

    async def _connect(self) -> None:
        is_direct = await self._connection.open()
        self._connected_at = monotonic()
        if not is_direct:
            self._is_useless = True
            await self._connection.close()
            self._logger.warning("listener.pooler_detected")
            return
        if not self._backoff.is_first:
            self._logger.info("listener.connection_recovered")
        self._on_due(None)

    def _pass_on(self, payload: str) -> None:
        try:
            notice = decode_notice(payload)
        except InvalidNoticeError as error:
            # The text may be anybody's, so it is not logged.
            self._logger.debug("listener.notice_ignored", extra={"problem": str(error)})
            return
        match notice:
            case Cancellation(job_ids=job_ids):
                self._on_canceled(job_ids)
            case WakeUp(job_types=job_types) if job_types is not None and not job_types & self._job_types:
                pass
            case WakeUp(due_at=due_at, delay=delay) if delay:
                self._set_alarm(delay.total_seconds(), due_at)
            case WakeUp(due_at=due_at):
                self._on_due(due_at)

    def _set_alarm(self, seconds: float, due_at: datetime | None) -> None:
        loop = asyncio.get_running_loop()
        tick = math.ceil((loop.time() + seconds) / _ALARM_SECONDS)
        if tick not in self._alarms:
            self._alarms[tick] = loop.call_at(tick * _ALARM_SECONDS, self._ring, tick, due_at)

    def _ring(self, tick: int, due_at: datetime | None) -> None:
        del self._alarms[tick]
        self._on_due(due_at)
