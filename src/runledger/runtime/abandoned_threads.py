"""Threads of plain handlers that go on although their attempt is over."""

from __future__ import annotations

import asyncio

from runledger.runtime.clock import monotonic
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.stack_place import stack_place
from runledger.runtime.worker_log import WorkerLog

_GRACE_SECONDS = 1.0


class AbandonedThreads:
    """Counts them, and says so of each: when it does not end, and when it returns after all.

    A thread that looks whether it should end needs a moment for that. One that does not end within it is abandoned.

    Args:
        worker_id: The worker that the threads belong to.
    """

    def __init__(self, worker_id: str) -> None:
        self._logger = WorkerLog("worker", worker_id)
        self._ending: dict[Execution, asyncio.TimerHandle] = {}
        self._abandoned: set[Execution] = set()

    @property
    def count(self) -> int:
        """How many threads are abandoned. May be read in any thread."""
        return len(self._abandoned)

    def left(self, execution: Execution) -> None:
        """The attempt is over, its thread goes on."""
        if execution.cancel_cause is CancelCause.SHUTDOWN:
            self._abandon(execution)  # it was asked seconds ago
        else:
            loop = asyncio.get_running_loop()
            self._ending[execution] = loop.call_later(_GRACE_SECONDS, self._abandon, execution)

    def returned(self, execution: Execution) -> None:
        """The thread has returned, if it was left at all."""
        timer = self._ending.pop(execution, None)
        if timer is not None:
            timer.cancel()
        if execution in self._abandoned:
            self._abandoned.discard(execution)
            self._logger.info("worker.thread_returned", extra=_facts(execution))

    def close(self) -> None:
        """Wait for none any more: the worker ends."""
        for execution, timer in list(self._ending.items()):
            timer.cancel()
            self._abandon(execution)

    def _abandon(self, execution: Execution) -> None:
        self._ending.pop(execution, None)
        self._abandoned.add(execution)
        place = stack_place(execution.thread_id)
        self._logger.warning("worker.thread_abandoned", extra=_facts(execution) | {"place": place})


def _facts(execution: Execution) -> dict[str, object]:
    job, started_at = execution.job, execution.started_at
    seconds = None if started_at is None else round(monotonic() - started_at, 1)
    return {"job_id": str(job.job_id), "job_type": job.job_type, "seconds": seconds}
