"""What becomes of outcomes: how many are on their way, and who hears of their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta

from runledger.core.jobs.handler import JobFailure
from runledger.postgres.sql_errors import COMMIT_UNCONFIRMED
from runledger.runtime.execution import Execution
from runledger.runtime.lifecycle import LifecycleEventKind
from runledger.runtime.outcome import JOB_CANCELED, Dropped, Failed
from runledger.runtime.unwritten_outcome import Unwritten
from runledger.runtime.worker_log import WorkerLog


class OutcomeSettler:
    """Counts the outcomes that are not settled, and tells of each once what happened to it.

    Args:
        worker_id: The worker that reports the outcomes.
        silence: How long after its lease an outcome is given up that nobody could be asked about.
        on_settled: Called for each execution when nothing is left to write, with what happened and the code of the
            failure, or of what kept it from being written.
        on_dead_letter: Called after the commit for each failure that became a dead letter.
    """

    def __init__(
        self,
        worker_id: str,
        *,
        silence: timedelta,
        on_settled: Callable[[Execution, LifecycleEventKind, str | None], None],
        on_dead_letter: Callable[[Execution, JobFailure], None],
    ) -> None:
        self._logger = WorkerLog("worker", worker_id)
        self._silence_seconds = silence.total_seconds()
        self._on_settled = on_settled
        self._on_dead_letter = on_dead_letter
        self._count = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def count(self) -> int:
        """How many outcomes are not settled."""
        return self._count

    async def until_empty(self) -> None:
        """Wait until every outcome is settled."""
        await self._is_empty.wait()

    def expect(self) -> None:
        """Count one more, which is to be settled."""
        self._count += 1
        self._is_empty.clear()

    def finished(self, execution: Execution) -> None:
        """Tell of a job that its handler finished itself. There was nothing to write."""
        self._on_settled(execution, LifecycleEventKind.SUCCEEDED, None)

    def dropped(self, execution: Execution, code: str) -> None:
        """Tell of a job whose outcome nobody may write."""
        self._tell_lost(execution, code)

    def written(self, item: Unwritten, *, is_dead_letter: bool) -> None:
        """Settle what is in the ledger."""
        outcome = item.outcome
        self._settle(item)
        if not isinstance(outcome, Failed):
            self._on_settled(item.execution, LifecycleEventKind.SUCCEEDED, None)
            return
        kind = LifecycleEventKind.DEAD_LETTERED if is_dead_letter else LifecycleEventKind.RETRY_SCHEDULED
        self._on_settled(item.execution, kind, outcome.failure.code)
        if is_dead_letter:
            facts = _facts(item.execution) | {"code": outcome.failure.code}
            self._logger.warning("worker.job_dead_lettered", extra=facts)
            self._on_dead_letter(item.execution, outcome.failure)

    def lost(self, item: Unwritten, code: str) -> None:
        """Settle what will not be in the ledger."""
        self._settle(item)
        self._tell_lost(item.execution, code)

    def still_to_write(self, items: Iterable[Unwritten]) -> list[Unwritten]:
        """Return what is not settled. A lease that has been over for long while nobody could be asked settles it."""
        unsettled = [item for item in items if not item.is_settled]
        for item in unsettled:
            if item.seconds_late() >= self._silence_seconds:
                self.lost(item, item.outcome.code if isinstance(item.outcome, Dropped) else COMMIT_UNCONFIRMED)
        return [item for item in unsettled if not item.is_settled]

    def _settle(self, item: Unwritten) -> None:
        item.is_settled = True
        self._count -= 1
        if self._count == 0:
            self._is_empty.set()

    def _tell_lost(self, execution: Execution, code: str) -> None:
        facts = _facts(execution)
        if code == JOB_CANCELED:  # somebody wanted it so
            self._logger.info("worker.job_canceled", extra=facts)
            self._on_settled(execution, LifecycleEventKind.CANCELED, code)
        else:
            self._logger.warning("worker.outcome_not_written", extra=facts | {"code": code})
            self._on_settled(execution, LifecycleEventKind.LEASE_LOST, code)


def _facts(execution: Execution) -> dict[str, object]:
    job = execution.job
    return {"job_id": str(job.job_id), "job_type": job.job_type, "attempt": job.attempt}
