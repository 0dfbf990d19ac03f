"""Notice that the event loop stands still, and say which handler holds it and where."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Set as AbstractSet

from runledger.runtime.clock import monotonic
from runledger.runtime.execution import Execution
from runledger.runtime.per_loop import PerLoop
from runledger.runtime.stack_place import stack_place

_logger = logging.getLogger("runledger.lease_keeper")


class StallWatch:
    """Compares when an event loop last turned with the present, for all workers in it: a stall is one stall.

    :meth:`turned` is called in the loop, again and again; :meth:`look` in other threads, which a blocked loop does not
    hold up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, AbstractSet[Execution]] = {}  # by identity: sets of two workers may be equal
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None
        self._turned_at = monotonic()
        self._stalled_since: float | None = None
        self._stall_ended_after: float | None = None

    def join(self, held: AbstractSet[Execution]) -> None:
        """Watch the running loop for one more worker, which runs these."""
        with self._lock:
            if not self._held:
                self._loop = asyncio.get_running_loop()
                self._thread_id = threading.get_ident()
                self._turned_at = monotonic()
            self._held[id(held)] = held

    def leave(self, held: AbstractSet[Execution]) -> None:
        """Watch no longer for the worker that runs these."""
        with self._lock:
            self._held.pop(id(held), None)
            if not self._held:
                self._loop = self._stalled_since = self._stall_ended_after = None

    def turned(self) -> None:
        """The loop turns."""
        now = monotonic()
        if self._stalled_since is not None and self._stall_ended_after is None:
            self._stall_ended_after = now - self._stalled_since
        self._turned_at = now

    def seconds_since_turn(self) -> float:
        """How long the loop has not been seen to turn."""
        return monotonic() - self._turned_at

    def look(self, *, stall_seconds: float) -> None:
        """Log that the loop has stood still for so long, and later for how long it did; each once."""
        began_before = ended_after = None
        with self._lock:
            turned_at, now = self._turned_at, monotonic()
            if self._stalled_since is not None:
                ended_after = self._stall_ended_after
                if ended_after is not None:
                    self._stalled_since = self._stall_ended_after = None
            elif self._held and now - turned_at >= stall_seconds:
                self._stalled_since = turned_at
                began_before = now - turned_at
            held = list(self._held.values())
        # Outside of the lock: the loop takes it as well, and a log may be slow.
        if began_before is not None:
            self._log_stall(began_before, {execution for one in held for execution in set(one)})
        if ended_after is not None:
            _logger.warning("lease_keeper.loop_resumed", extra={"seconds": round(ended_after, 1)})

    def _log_stall(self, seconds: float, held: AbstractSet[Execution]) -> None:
        loop = self._loop
        # Outside a task the loop runs a callback, of whomever.
        task = None if loop is None else asyncio.current_task(loop)
        execution = next((one for one in held if task is not None and one.is_run_by(task)), None)
        _logger.warning(
            "lease_keeper.loop_stalled",
            extra={
                "worker_id": None if execution is None else execution.lease.worker_id,
                "seconds": round(seconds, 1),
                "job_type": None if execution is None else execution.job.job_type,
                "job_id": None if execution is None else str(execution.job.job_id),
                "place": stack_place(self._thread_id),
            },
        )


_stall_watches = PerLoop(StallWatch)


def watch_of_running_loop() -> StallWatch:
    """Return the watch of the running event loop."""
    return _stall_watches.of_running_loop()
