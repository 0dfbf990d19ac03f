"""Keep the leases of a worker: one statement every third of their time to live, from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TypeVar, TypeVarTuple, Unpack
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.postgres import Database, Operation, jobs
from runledger.postgres.document import MAX_BATCH_ROWS
from runledger.postgres.drivers.psycopg.own_connection import SyncOwnConnection
from runledger.runtime.execution import CancelCause, Execution, monotonic

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_logger = logging.getLogger("runledger.lease_keeper")

_LONGEST_RETRY_SECONDS = 1.0
_LONGEST_MARGIN_SECONDS = 1.0
_STOP_SECONDS = 2.0
_SHORTEST_CONNECT_TIMEOUT_SECONDS = 2  # libpq takes whole seconds, and not fewer


class LeaseKeeper:
    """Renews the leases of everything a worker holds.

    A thread with a connection of its own does it, so that neither a handler that blocks the event loop nor a pool
    without a free connection costs leases. A failed renewal is tried again while the leases live; shortly before the
    last good one ends, the handler is canceled. A handler that goes on past its timeout keeps its lease for one more
    time to live and no longer.

    Args:
        database: Where the leases are.
        worker_id: Whose they are.
        lease_ttl: Their time to live.
        held: The executions to renew. The worker's event loop changes the set; this class only reads it.
    """

    def __init__(self, database: Database, *, worker_id: str, lease_ttl: timedelta, held: set[Execution]) -> None:
        self._worker_id = worker_id
        self._lease_ttl = lease_ttl
        self._held = held
        ttl = lease_ttl.total_seconds()
        self._interval = ttl / 3
        self._retry_seconds = min(_LONGEST_RETRY_SECONDS, ttl / 10)
        self._margin_seconds = min(_LONGEST_MARGIN_SECONDS, ttl / 10)
        third_ms = int(self._interval * 1000)
        self._connection: SyncOwnConnection = database.own_sync_connection(
            statement_timeout_ms=third_ms,
            connect_timeout=max(_SHORTEST_CONNECT_TIMEOUT_SECONDS, int(self._interval)),
            tcp_user_timeout=third_ms,
            keepalives_idle=max(1, int(self._interval)),
        )
        self._is_stopping = False
        self._alarm = threading.Event()
        self._to_check: deque[set[UUID]] = deque()
        self._is_failing = False
        self._asked_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and begin.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached, so no lease could be kept.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        is_open: asyncio.Future[None] = self._loop.create_future()
        # Not in the loop's default executor: an application may have filled that with work of its own.
        thread = threading.Thread(target=self._run, args=[is_open], name="runledger-lease-keeper", daemon=True)
        thread.start()
        await is_open
        self._watch = asyncio.create_task(self._watch_renewals())

    async def stop(self) -> None:
        """Stop renewing and close the connection."""
        self._is_stopping = True
        self._alarm.set()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._ended is not None:
            try:
                await asyncio.wait_for(self._ended.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._connection.abort()  # the thread sees it and ends; it is a daemon, should it not

    def check(self, job_ids: Collection[UUID]) -> None:
        """Renew the leases of those jobs that the worker holds soon: they may be canceled. Called in the event loop."""
        held = {execution.job.job_id for execution in self._held}.intersection(job_ids)
        if held:
            self._to_check.append(held)
            self._alarm.set()

    def renew(self) -> bool:
        """Renew once and tell whether every lease was found: renewed, or known to be gone.

        Called by the thread, and by tests.
        """
        return self._renew(self._held.copy())

    def _renew(self, asked: Collection[Execution]) -> bool:
        now = monotonic()
        held = [execution for execution in asked if execution.renew_until > now]
        # One per job, since the statement's document is keyed by it. An older one is a handler that goes on although
        # its lease was lost, while this worker has claimed the job anew.
        newest: dict[UUID, Execution] = {}
        for execution in sorted(held, key=_order):
            newest[execution.job.job_id] = execution
        executions = list(newest.values())
        self._lose([one for one in held if newest[one.job.job_id] is not one], CancelCause.LEASE_LOST)
        is_complete = True
        for start in range(0, len(executions), MAX_BATCH_ROWS):
            is_complete &= self._renew_batch(executions[start : start + MAX_BATCH_ROWS])
        return is_complete

    def _run(self, is_open: asyncio.Future[None]) -> None:
        try:
            self._connection.open()
        except Exception as error:  # noqa: BLE001 (handed to whoever waits in `start`)
            self._call_in_loop(_fail, is_open, error)
        else:
            self._call_in_loop(_finish, is_open)
            self._renew_until_stopped()
        finally:
            self._connection.close()
            if self._ended is not None:
                self._call_in_loop(self._ended.set)

    def _renew_until_stopped(self) -> None:
        renew_at = monotonic() + self._interval
        while True:
            self._alarm.wait(max(0.0, renew_at - monotonic()))
            self._alarm.clear()
            # A loop that was closed without a stop will never start another handler: its leases may end.
            if self._is_stopping or self._is_loop_closed():
                return
            asked = self._take_asked()
            if monotonic() >= renew_at:
                renew_at = monotonic() + self._seconds_after(self.renew)
            elif asked:
                renew_at = min(renew_at, monotonic() + self._seconds_after(lambda asked=asked: self._renew(asked)))

    def _take_asked(self) -> list[Execution]:
        job_ids: set[UUID] = set()
        while self._to_check:
            job_ids |= self._to_check.popleft()
        return [execution for execution in self._held.copy() if execution.job.job_id in job_ids]

    def _seconds_after(self, renew: Callable[[], bool]) -> float:
        """Renew, and return how long the next renewal has time after this one."""
        try:
            is_complete = renew()
        except RunledgerError as error:
            if not self._is_failing:
                self._is_failing = True
                _logger.warning("lease_keeper.renewal_failed", extra={"code": error.code})
            return self._retry_seconds
        except Exception:
            # Leases must outlive a defect here; the worker notices if it lasts.
            _logger.exception("lease_keeper.renewal_crashed")
            return self._retry_seconds
        if self._is_failing:
            self._is_failing = False
            _logger.info("lease_keeper.renewal_recovered")
        return self._interval if is_complete else self._retry_seconds

    def _renew_batch(self, executions: list[Execution]) -> bool:
        sent_at = monotonic()
        leases = [execution.lease for execution in executions]
        renewed = self._ask(jobs.renew_leases(self._worker_id, leases, lease_ttl=self._lease_ttl))
        missing: list[Execution] = []
        for execution in executions:
            if execution.job.job_id in renewed:
                execution.lease_good_until = sent_at + self._lease_ttl.total_seconds()
            else:
                missing.append(execution)
        if not missing:
            return True
        still_held = self._ask(jobs.read_held_leases(self._worker_id, [execution.lease for execution in missing]))
        lost = [execution for execution in missing if execution.job.job_id not in still_held]
        canceled = self._ask(jobs.read_canceled_leases(self._worker_id, [execution.lease for execution in lost]))
        self._lose([execution for execution in lost if execution.job.job_id in canceled], CancelCause.JOB_CANCELED)
        self._lose([execution for execution in lost if execution.job.job_id not in canceled], CancelCause.LEASE_LOST)
        return len(lost) == len(missing)

    def _ask(self, operation: Operation[T]) -> T:
        self._asked_at = monotonic()
        try:
            return self._connection.run(operation)
        finally:
            self._asked_at = None

    def _lose(self, executions: list[Execution], cause: CancelCause) -> None:
        for execution in executions:
            self._call_in_loop(execution.cancel, cause)
            # The event loop may be blocked, and must not begin the handler after it.
            execution.lease_good_until = min(execution.lease_good_until, monotonic())

    def _call_in_loop(self, callback: Callable[[Unpack[Arguments]], object], *arguments: *Arguments) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(callback, *arguments)

    def _is_loop_closed(self) -> bool:
        return self._loop is not None and self._loop.is_closed()

    async def _watch_renewals(self) -> None:
        """End what the thread cannot end while it hangs: a renewal without answer, and leases it did not save."""
        while True:
            await asyncio.sleep(self._retry_seconds)
            now = monotonic()
            asked_at = self._asked_at
            # The server ends a slow statement by itself after a third; later than that nobody will answer.
            if asked_at is not None and now - asked_at > self._interval + self._retry_seconds:
                self._connection.abort()
            for execution in list(self._held):
                if execution.lease_good_until < now + self._margin_seconds:
                    execution.cancel(CancelCause.LEASE_MAINTENANCE_FAILED)


def _order(execution: Execution) -> tuple[int, int]:
    return execution.job.run_number, execution.job.attempt


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
