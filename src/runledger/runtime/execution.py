"""One attempt in the hands of a worker: from its claim until its outcome is written."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Protocol

from runledger.core.jobs.records import ClaimedJob, LeaseIdentity
from runledger.runtime.clock import monotonic


class CancelCause(Enum):
    """Why the worker canceled a handler. A handler that is canceled without one did it itself."""

    TIMEOUT = auto()
    JOB_CANCELED = auto()
    LEASE_LOST = auto()
    LEASE_MAINTENANCE_FAILED = auto()
    SHUTDOWN = auto()


_LEASE_CAUSES = {CancelCause.LEASE_LOST, CancelCause.LEASE_MAINTENANCE_FAILED}

# How long the open transaction of a canceled handler may wait for the server: less than the five seconds that a
# shutdown gives. A COMMIT on its way gets more, since nobody knows what becomes of it once it is cut off.
_ANSWER_SECONDS = 3.0
_COMMIT_ANSWER_SECONDS = 15.0


class WatchedTransaction(Protocol):
    """What an execution must know about a transaction that its handler has open."""

    @property
    def is_waiting(self) -> bool:
        """Whether the handler waits for the pool or the server."""
        ...

    def cut_off(self) -> None:
        """End the connection. Whoever waits for an answer on it gets an error."""
        ...


class Execution:
    """A claimed job that this worker holds.

    Belongs to the event loop, but for the lease fields, which the lease keeper's thread reads and moves.

    Attributes:
        job: What was claimed.
        lease: Its identity.
        lease_good_until: Instant of the monotonic clock until which the lease is sure to last.
        renew_until: Instant after which the lease is not renewed any more, so that a handler that blocks the event
            loop, or a thread that never returns, cannot hold a job for ever.
        cancel_cause: Why the handler was canceled, or ``None``. Also read by handlers in threads.
        started_at: Instant at which the handler was called, or ``None``.
        ended_at: Instant at which it was over, or ``None``.
        is_in_thread: Whether the handler runs in a thread, which nothing can stop.
        thread_id: Which thread that is.
        holds_slot: Whether the handler has not returned. A thread may go on when the attempt is over.
        is_finishing: Whether the handler's own transaction is writing the success of the job just now.
        is_finished: Whether it has: no other outcome is written.
        lease_seconds: Time to live of the lease.
        dependent_count: How many steps wait for the workflow step of the job, those included that its handler appended.
    """

    __slots__ = (
        "_has_ended",
        "_task",
        "_timeouts",
        "_transaction",
        "cancel_cause",
        "dependent_count",
        "ended_at",
        "holds_slot",
        "is_finished",
        "is_finishing",
        "is_in_thread",
        "job",
        "lease",
        "lease_good_until",
        "lease_seconds",
        "renew_until",
        "started_at",
        "thread_id",
    )

    def __init__(self, job: ClaimedJob, *, claimed_at: float, lease_ttl: float) -> None:
        self.job = job
        self.lease: LeaseIdentity = job.lease
        self.lease_seconds = lease_ttl
        self.lease_good_until = claimed_at + lease_ttl
        self.renew_until = claimed_at + self.timeout_seconds + lease_ttl
        self.cancel_cause: CancelCause | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.is_in_thread = False
        self.thread_id: int | None = None
        self.holds_slot = True
        self.is_finishing = False
        self.is_finished = False
        self.dependent_count = job.workflow_dependent_count
        self._task: asyncio.Task[Any] | None = None
        self._timeouts: AttemptTimeouts | None = None
        self._has_ended = False
        self._transaction: WatchedTransaction | None = None

    @property
    def timeout_seconds(self) -> int:
        """How long the handler may take."""
        return max(self.job.timeout_seconds, 1)

    @property
    def may_end_by_itself(self) -> bool:
        """Whether what the handler returns, raises or commits counts, although it may have been canceled.

        At a shutdown it does: it ended in time. After a timeout or with a lost lease it does not.
        """
        return self.cancel_cause in {None, CancelCause.SHUTDOWN}

    def begin(self, task: asyncio.Task[Any]) -> bool:
        """The handler is about to be called in this task; ``False`` when it must not be any more.

        It was canceled before it began, or a blocked event loop kept it waiting until its lease was over.
        """
        if self.cancel_cause is None and self.lease_good_until <= monotonic():
            self.cancel_cause = CancelCause.LEASE_MAINTENANCE_FAILED
        if self.cancel_cause is not None:
            return False
        self._task = task
        self.started_at = monotonic()
        return True

    def end(self) -> None:
        """The handler has ended: a later cancellation must not hit what follows it."""
        self._has_ended = True
        self.ended_at = monotonic()
        self._task = None
        if self._timeouts is not None:
            self._timeouts.leave(self)

    def is_run_by(self, task: asyncio.Task[Any]) -> bool:
        """Whether this task is the handler's, and the handler has not ended. May be asked in any thread."""
        return self._task is task

    def join_timeouts(self, timeouts: AttemptTimeouts) -> None:
        """Name the timer that watches this attempt."""
        self._timeouts = timeouts

    def cancel(self, cause: CancelCause) -> None:
        """Stop the handler, or keep it from beginning. The first cause counts.

        A handler in a thread can only be asked. For a shutdown it may still end well; see :meth:`abandon`.
        """
        if self.cancel_cause is not None or self._has_ended:
            return
        if (self.is_finishing or self.is_finished) and cause in _LEASE_CAUSES:
            return  # the handler's own commit ends the lease; if it is lost, the commit finds that out
        self.cancel_cause = cause
        if self._task is None:
            return
        if self.is_in_thread and cause is CancelCause.SHUTDOWN:
            return
        self._task.cancel()
        asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self._end_silence, self._task)

    def watch(self, transaction: WatchedTransaction | None) -> None:
        """Name the handler's own transaction while it is open; it must not hold up a handler that was canceled."""
        self._transaction = transaction

    def finished(self) -> None:
        """The handler's own transaction has finished the job. The handler may go on until its timeout."""
        self.is_finished = True
        self.renew_until = 0.0
        self.lease_good_until = math.inf

    def lose_lease(self) -> None:
        """The handler's own transaction found the lease gone."""
        if self.cancel_cause is None:
            self.cancel_cause = CancelCause.LEASE_LOST

    def _end_silence(self, task: asyncio.Task[Any], *, is_last: bool = False) -> None:
        """Free a canceled handler from a server that does not answer, and the server from a handler that goes on.

        The driver asks the server to cancel the statement, and waits for that as well. Canceled once more, it gives up.
        """
        if self.is_finishing and not is_last:
            later = functools.partial(self._end_silence, task, is_last=True)
            asyncio.get_running_loop().call_later(_COMMIT_ANSWER_SECONDS, later)
            return
        transaction = self._transaction
        if transaction is None:
            return
        is_waiting = transaction.is_waiting
        if is_waiting or not self.may_end_by_itself:
            transaction.cut_off()
        if is_waiting and task is self._task and not self.is_in_thread:
            task.cancel()

    def abandon(self) -> None:
        """Wait no longer for a handler in a thread that was asked to end."""
        if self._task is not None and self.is_in_thread:
            self._task.cancel()


class AttemptTimeouts:
    """One timer for all attempts of a claim with the same timeout: a timer each costs as much as a small handler.

    An attempt's time begins when its handler is called. Those that the timer finds too young are watched on.
    """

    def __init__(self, seconds: int, executions: Iterable[Execution]) -> None:
        self._seconds = seconds
        self._members = set(executions)
        for execution in self._members:
            execution.join_timeouts(self)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def leave(self, execution: Execution) -> None:
        """The attempt has ended."""
        self._members.discard(execution)
        if not self._members:
            self._timer.cancel()

    def _expire(self) -> None:
        now = monotonic()
        next_seconds = float(self._seconds)
        for execution in list(self._members):
            age = 0.0 if execution.started_at is None else now - execution.started_at
            if age >= self._seconds:
                self._members.discard(execution)
                execution.cancel(CancelCause.TIMEOUT)
            else:
                next_seconds = min(next_seconds, self._seconds - age)
        if self._members:
            self._timer = asyncio.get_running_loop().call_later(next_seconds, self._expire)
