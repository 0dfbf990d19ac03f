"""What is said of outcomes that cannot be written: once that it began, and once that it is over."""

from __future__ import annotations

from runledger.postgres import DatabaseConnectionError, QueryError
from runledger.runtime.clock import monotonic
from runledger.runtime.held_outcomes import HeldOutcomes
from runledger.runtime.worker_log import WorkerLog

# As long as the longest wait between two attempts: what has not failed since then works.
_QUIET_SECONDS = 5.0
# Somebody who locks a job or a run for so long should know what waits.
_HELD_SECONDS = 5.0


class WriteTrouble:
    """Speaks for all writers of a worker.

    A disk that is full lets one write through and refuses the next, so a single success does not end the trouble.

    Args:
        worker_id: The worker.
    """

    def __init__(self, worker_id: str) -> None:
        self._logger = WorkerLog("worker", worker_id)
        self._failed_at: float | None = None
        self._has_told_held = False

    def failed(self, error: Exception, job_count: int) -> None:
        """Note that a write failed, of so many outcomes."""
        if self._failed_at is None:
            if isinstance(error, DatabaseConnectionError | QueryError):
                self._logger.warning("worker.outcome_write_failed", extra={"code": error.code, "job_count": job_count})
            else:
                self._logger.error("worker.outcome_write_crashed", extra={"job_count": job_count}, exc_info=error)
        self._failed_at = monotonic()

    def written(self, unwritten_count: int) -> None:
        """Note that a write succeeded, and how many outcomes are left."""
        if self._failed_at is not None and (unwritten_count == 0 or monotonic() - self._failed_at > _QUIET_SECONDS):
            self._failed_at = None
            self._logger.info("worker.outcome_write_recovered")

    def held(self, outcomes: HeldOutcomes) -> None:
        """Note what other transactions keep from being written."""
        longest = outcomes.longest
        if longest is None:
            if self._has_told_held:
                self._has_told_held = False
                self._logger.info("worker.outcomes_free")
            return
        seconds, item = longest
        if seconds >= _HELD_SECONDS and not self._has_told_held:
            self._has_told_held = True
            job = item.execution.job
            run_id = None if job.workflow_run_id is None else str(job.workflow_run_id)
            self._logger.warning(
                "worker.outcomes_held",
                extra={"job_count": outcomes.count, "job_id": str(job.job_id), "workflow_run_id": run_id},
            )
