"""Keep the leases of a worker, and its own row: one statement every third of the lease time, from a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TypeVar, TypeVarTuple, Unpack
from uuid import UUID

from runledger.core.errors import ConfigError, RunledgerError
from runledger.core.workers import WorkerIdentity
from runledger.postgres import Database, Operation, jobs, workers
from runledger.postgres.document import MAX_BATCH_ROWS
from runledger.postgres.drivers.psycopg.own_connection import SyncOwnConnection
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.stall_watch import StallWatch, watch_of_running_loop
from runledger.runtime.worker_identity import is_known_dead
from runledger.runtime.worker_log import WorkerLog

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_LONGEST_RETRY_SECONDS = 1.0
_LONGEST_MARGIN_SECONDS = 1.0
_STOP_SECONDS = 2.0
_STALLED_AFTER_CHECKS = 5  # of the loop's watch, which turns every second: five seconds by default
_SHORTEST_CONNECT_TIMEOUT_SECONDS = 2  # libpq takes whole seconds, and not fewer


class LeaseKeeper:
    """Renews the leases of everything a worker holds, and says that the worker lives.

    A thread with a connection of its own does it, so that neither a handler that blocks the event loop nor a pool
    without a free connection costs leases. A failed renewal is tried again while the leases live; shortly before the
    last good one ends, the handler is canceled. A handler that goes on past its timeout keeps its lease for one more
    time to live and no longer. The thread also notices, and logs, that the event loop stands still.

    Args:
        database: The database that holds the leases.
        worker_id: The worker that holds the leases.
        lease_ttl: Their time to live.
        held: The executions to renew. The worker's event loop changes the set; this class only reads it.
        on_id_taken: Called in the event loop when another process has taken the worker's id.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        lease_ttl: timedelta,
        held: set[Execution],
        on_id_taken: Callable[[], None],
    ) -> None:
        self._logger = WorkerLog("lease_keeper", worker_id)
        self._lease_ttl = lease_ttl
        self._on_id_taken = on_id_taken
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
        self._identity: WorkerIdentity | None = None
        self._started_at: datetime | None = None
        self._is_worker_stopping = False
        self._stalls: StallWatch | None = None
        self._is_stopping = False
        self._alarm = threading.Event()
        self._to_check: deque[set[UUID]] = deque()
        self._is_failing = False
        self._thread: threading.Thread | None = None
        self._asked_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_well(self) -> bool:
        """Whether the thread runs and its last renewal reached the database. May be read in any thread."""
        return self._thread is not None and self._thread.is_alive() and not self._is_failing

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs and the event loop has turned within the lease time. May be read in any thread."""
        if self._thread is None or self._stalls is None or not self._thread.is_alive():
            return False
        return self._stalls.seconds_since_turn() < self._lease_ttl.total_seconds()

    async def start(self, identity: WorkerIdentity) -> None:
        """Connect, take the worker's id, and begin.

        Raises:
            ConfigError: ``config.worker_id_taken``: a live worker has the id.
            DatabaseConnectionError: PostgreSQL cannot be reached, so no lease could be kept.
        """
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        is_open: asyncio.Future[None] = self._loop.create_future()
        # Not in the loop's default executor: an application may have filled that with work of its own.
        self._thread = threading.Thread(
            target=self._run, args=[identity, is_open], name="runledger-lease-keeper", daemon=True
        )
        self._thread.start()
        await is_open
        self._stalls = watch_of_running_loop()
        self._stalls.join(self._held)
        self._watch = asyncio.create_task(self._watch_renewals(self._stalls))

    def worker_stops(self) -> None:
        """The worker claims no more: its next heartbeat says so."""
        self._is_worker_stopping = True

    async def stop(self) -> None:
        """Stop renewing, forget the worker, and close the connection."""
        self._is_stopping = True
        self._alarm.set()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._stalls is not None:
            self._stalls.leave(self._held)
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
        """Send one heartbeat and tell whether every lease was found: renewed, or known to be gone.

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
        # Also without a lease: the worker lives.
        for start in range(0, max(len(executions), 1), MAX_BATCH_ROWS):
            is_complete &= self._renew_batch(executions[start : start + MAX_BATCH_ROWS])
        return is_complete

    def _run(self, identity: WorkerIdentity, is_open: asyncio.Future[None]) -> None:
        try:
            self._connection.open()
            self._started_at = self._register(identity)
        except Exception as error:  # noqa: BLE001 (handed to whoever waits in `start`)
            self._call_in_loop(_fail, is_open, error)
        else:
            self._call_in_loop(_finish, is_open)
            self._renew_until_stopped()
            self._remove(identity)
        finally:
            self._connection.close()
            if self._ended is not None:
                self._call_in_loop(self._ended.set)

    def _register(self, identity: WorkerIdentity) -> datetime:
        started_at = self._ask(workers.register_worker(identity, lease_ttl=self._lease_ttl))
        if started_at is not None:
            return started_at
        other = next(iter(self._ask(workers.list_workers(worker_id=identity.worker_id))), None)
        if other is None or is_known_dead(other, own=identity):
            replaced = None if other is None else other.instance_id
            again = workers.register_worker(identity, lease_ttl=self._lease_ttl, replaces_instance_id=replaced)
            started_at = self._ask(again)
            if started_at is not None:
                return started_at
        if other is not None:
            self._logger.error(
                "lease_keeper.worker_id_taken",
                extra={
                    "hostname": other.hostname,
                    "process_id": other.process_id,
                    "heartbeat_at": other.heartbeat_at.isoformat(),
                },
            )
        raise worker_id_taken()

    def _remove(self, identity: WorkerIdentity) -> None:
        if self._is_failing:
            return  # nobody would answer; the row expires
        with contextlib.suppress(RunledgerError):
            self._ask(workers.remove_worker(identity.worker_id, identity.instance_id))

    def _renew_until_stopped(self) -> None:
        renew_at = monotonic() + self._interval
        while True:
            # Awake each second at the latest: to see whether the event loop turns.
            self._alarm.wait(max(0.0, min(renew_at - monotonic(), self._retry_seconds)))
            self._alarm.clear()
            # A loop that was closed without a stop will never start another handler: its leases may end.
            if self._is_stopping or self._is_loop_closed():
                return
            if self._stalls is not None:
                self._stalls.look(stall_seconds=_STALLED_AFTER_CHECKS * self._retry_seconds)
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
            if self._is_failing:
                return self._retry_seconds
            self._is_failing = True
            self._logger.warning("lease_keeper.renewal_failed", extra={"code": error.code})
            # At once: a connection that fell silent has cost much of the lease, and a new one may still save it.
            return 0.0
        except Exception:
            # Leases must outlive a defect here; the worker notices if it lasts.
            self._logger.exception("lease_keeper.renewal_crashed")
            return self._retry_seconds
        if self._is_failing:
            self._is_failing = False
            self._logger.info("lease_keeper.renewal_recovered")
        return self._interval if is_complete else self._retry_seconds

    def _renew_batch(self, executions: list[Execution]) -> bool:
        sent_at = monotonic()
        leases = [execution.lease for execution in executions]
        assert self._identity is not None and self._started_at is not None  # noqa: S101, PT018 (`start` set them)
        worker_id = self._identity.worker_id
        heartbeat = self._ask(
            jobs.heartbeat_worker(
                self._identity,
                leases,
                lease_ttl=self._lease_ttl,
                started_at=self._started_at,
                is_stopping=self._is_worker_stopping,
            )
        )
        if not heartbeat.is_registered:
            self._call_in_loop(self._on_id_taken)
        renewed = heartbeat.renewed_job_ids
        missing: list[Execution] = []
        for execution in executions:
            if execution.job.job_id in renewed:
                execution.lease_good_until = sent_at + self._lease_ttl.total_seconds()
            else:
                missing.append(execution)
        if not missing:
            return True
        still_held = self._ask(jobs.read_held_leases(worker_id, [execution.lease for execution in missing]))
        lost = [execution for execution in missing if execution.job.job_id not in still_held]
        canceled = self._ask(jobs.read_canceled_leases(worker_id, [execution.lease for execution in lost]))
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

    async def _watch_renewals(self, stalls: StallWatch) -> None:
        """End what the thread cannot end while it hangs: a renewal without answer, and leases it did not save."""
        while True:
            await asyncio.sleep(self._retry_seconds)
            stalls.turned()
            now = monotonic()
            asked_at = self._asked_at
            # The server ends a slow statement by itself after a third; later than that nobody will answer.
            if asked_at is not None and now - asked_at > self._interval + self._retry_seconds:
                self._connection.abort()
            for execution in list(self._held):
                if execution.lease_good_until < now + self._margin_seconds:
                    execution.cancel(CancelCause.LEASE_MAINTENANCE_FAILED)


def worker_id_taken() -> ConfigError:
    """Return the error of a worker whose id a live worker has."""
    return ConfigError(
        "worker_id is that of another live worker; give each worker an id of its own or leave it out. The id of a "
        "worker that was killed on another host is free again once its lease time is over",
        code="config.worker_id_taken",
    )


def _order(execution: Execution) -> tuple[int, int]:
    return execution.job.run_number, execution.job.attempt


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
