"""Notice that the event loop stands still, and say which handler holds it and where."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Set as AbstractSet

from runledger.runtime.execution import Execution, monotonic
from runledger.runtime.stack_place import stack_place

_logger = logging.getLogger("runledger.lease_keeper")


class StallWatch:
    """Compares when the event loop last turned with the present.

    :meth:`turned` is called in the loop, again and again; :meth:`look` in another thread, which a blocked loop does not
    hold up.

    Args:
        held: What the worker runs.
        stall_seconds: How long the loop may stand still unnoticed.
    """

    def __init__(self, held: AbstractSet[Execution], *, stall_seconds: float) -> None:
        self._held = held
        self._stall_seconds = stall_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None
        self._turned_at = monotonic()
        self._stalled_since: float | None = None
        self._stall_ended_after: float | None = None

    def start(self) -> None:
        """Watch the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._turned_at = monotonic()

    def turned(self) -> None:
        """The loop turns."""
        now = monotonic()
        if self._stalled_since is not None and self._stall_ended_after is None:
            self._stall_ended_after = now - self._stalled_since
        self._turned_at = now

    def seconds_since_turn(self) -> float:
        """How long the loop has not been seen to turn."""
        return monotonic() - self._turned_at

    def look(self) -> None:
        """Log that the loop stands still, and later for how long it did; each once."""
        if self._stalled_since is None:
            turned_at = self._turned_at
            if monotonic() - turned_at >= self._stall_seconds:
                self._stalled_since = turned_at
                self._log_stall(monotonic() - turned_at)
        elif self._stall_ended_after is not None:
            _logger.warning("lease_keeper.loop_resumed", extra={"seconds": round(self._stall_ended_after, 1)})
            self._stalled_since = self._stall_ended_after = None

    def _log_stall(self, seconds: float) -> None:
        # Outside a task the loop runs a callback, of whomever.
        task = None if self._loop is None else asyncio.current_task(self._loop)
        execution = next((one for one in set(self._held) if task is not None and one.is_run_by(task)), None)
        _logger.warning(
            "lease_keeper.loop_stalled",
            extra={
                "seconds": round(seconds, 1),
                "job_type": None if execution is None else execution.job.job_type,
                "job_id": None if execution is None else str(execution.job.job_id),
                "place": stack_place(self._thread_id),
            },
        )
