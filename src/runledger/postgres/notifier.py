"""Telling workers and clients what was committed: soon after it, together, and never in the way of the caller."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.postgres.notices import (
    Cancellation,
    InvalidNoticeError,
    Notices,
    WakeUp,
    decode_notice,
    encode_cancellations,
    send_notices,
)
from runledger.postgres.operation import Operation

_logger = logging.getLogger("runledger.notifier")

_FINISH_SECONDS = 1.0
_LINGER_SECONDS = 1.0
# The first is told at once, those of a busy time together: each notification is a commit, and wakes workers.
_PAUSE_SECONDS = 0.005
# The renewal of their leases tells of those that find no room here.
_MAX_CANCELED = 10_000
# Whoever waits for a run that finds no room here looks for itself.
_MAX_ENDED = 1_000


class _Pending:
    """What is to be told, joined to the least that does: one wake-up, the canceled jobs, and the runs that ended."""

    def __init__(self) -> None:
        self._wake_up: WakeUp | None = None
        self._canceled: dict[UUID, None] = {}
        self._ended: list[UUID] = []

    def __bool__(self) -> bool:
        return self._wake_up is not None or bool(self._canceled) or bool(self._ended)

    def add(self, notices: Notices) -> None:
        self._ended += notices.ended_run_ids[: _MAX_ENDED - len(self._ended)]
        for payload in notices.payloads:
            try:
                notice = decode_notice(payload)
            except InvalidNoticeError:  # such as an instant that Python does not have
                continue
            match notice:
                case WakeUp() as wake_up:
                    self._wake_up = wake_up if self._wake_up is None else self._wake_up.joined(wake_up)
                case Cancellation(job_ids=job_ids):
                    if len(self._canceled) < _MAX_CANCELED:
                        self._canceled.update(dict.fromkeys(job_ids))

    def take(self) -> Operation[None] | None:
        """Return what sends it, and start over; ``None`` when there is nothing."""
        if not self:
            return None
        wake_up, canceled, ended = self._wake_up, self._canceled, self._ended
        self._wake_up, self._canceled, self._ended = None, {}, []
        payloads = [*([] if wake_up is None else [wake_up.encode()]), *encode_cancellations(canceled)]
        return send_notices(payloads, ended_run_ids=ended)


class Notifier:
    """Tells workers from a task that lives while there is something to tell.

    One statement is on its way at a time, and the next follows a few milliseconds later; what comes meanwhile is told
    by it together. What cannot be told is dropped: workers poll.

    Args:
        run: Runs an operation on a connection of the pool.
    """

    def __init__(self, run: Callable[[Operation[None]], Awaitable[None]]) -> None:
        self._run = run
        self._pending = _Pending()
        self._task: asyncio.Task[None] | None = None

    def tell(self, notices: Notices) -> None:
        """Tell this soon. Returns at once and never fails."""
        self._pending.add(notices)
        if self._pending and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._tell_pending())

    async def finish(self) -> None:
        """Wait until everything is told, for a moment; then drop it."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=_FINISH_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _tell_pending(self) -> None:
        while (send := self._pending.take()) is not None:
            try:
                await self._run(send)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is no reason to fail anybody)
                _log_failure(error)
            await asyncio.sleep(_PAUSE_SECONDS)


class SyncNotifier:
    """The blocking form of :class:`Notifier`: a thread, which ends when there was nothing to tell for a moment.

    A process that is forked begins anew: the thread stays behind, perhaps with the lock, and tells what was pending.

    Args:
        run: Runs an operation on a connection of the pool.
    """

    def __init__(self, run: Callable[[Operation[None]], None]) -> None:
        self._run = run
        self._teller = _Teller(run)

    def tell(self, notices: Notices) -> None:
        """Tell this soon. Returns at once and never fails."""
        if self._teller.process_id != os.getpid():
            self._teller = _Teller(self._run)
        self._teller.tell(notices)

    def finish(self) -> None:
        """Wait until everything is told, for a moment, and end the thread."""
        if self._teller.process_id == os.getpid():
            self._teller.finish()


class _Teller:
    """A :class:`SyncNotifier` in one process."""

    def __init__(self, run: Callable[[Operation[None]], None]) -> None:
        self.process_id = os.getpid()
        self._run = run
        self._pending = _Pending()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_finishing = False

    def tell(self, notices: Notices) -> None:
        with self._changed:
            self._pending.add(notices)
            if not self._pending:
                return
            self._changed.notify()
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._tell_until_idle, name="runledger-notifier", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread is to be had, as at the end of the interpreter
                    self._pending.take()
                else:
                    self._thread = thread

    def finish(self) -> None:
        with self._changed:
            thread = self._thread
            self._is_finishing = True
            self._changed.notify()
        if thread is not None:
            thread.join(_FINISH_SECONDS)
        with self._changed:
            self._is_finishing = False

    def _tell_until_idle(self) -> None:
        while (send := self._next()) is not None:
            try:
                self._run(send)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is no reason to fail anybody)
                _log_failure(error)
            with self._changed:
                self._changed.wait_for(lambda: self._is_finishing, _PAUSE_SECONDS)

    def _next(self) -> Operation[None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._is_finishing, _LINGER_SECONDS)
            if not self._pending:
                self._thread = None
            return self._pending.take()


def _log_failure(error: Exception) -> None:
    code = error.code if isinstance(error, RunledgerError) else type(error).__name__
    _logger.debug("notifier.notices_dropped", extra={"code": code})
