"""What became of the running jobs when a process stopped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettlement:
    """What became of the jobs that one worker ran when it was told to stop.

    Attributes:
        worker_id: The worker.
        finished: Their end is in the ledger: succeeded, failed, canceled, or a dead letter.
        returned: Their handlers were canceled, and they are due again at once.
        abandoned: Nothing was written for them: threads that go on, outcomes that the database did not take, leases
            that were lost. They are tried again when their leases have ended.
    """

    worker_id: str
    finished: int
    returned: int
    abandoned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementReport:
    """How a supervisor ended.

    Attributes:
        workers: What became of the jobs of each worker, in the order in which the workers were added.
        errors: What ended a part before it was told to stop, or went wrong while it stopped. The log has them as well.
    """

    workers: tuple[WorkerSettlement, ...] = ()
    errors: tuple[BaseException, ...] = ()

    @property
    def finished(self) -> int:
        """The sum over the workers."""
        return sum(worker.finished for worker in self.workers)

    @property
    def returned(self) -> int:
        """The sum over the workers."""
        return sum(worker.returned for worker in self.workers)

    @property
    def abandoned(self) -> int:
        """The sum over the workers."""
        return sum(worker.abandoned for worker in self.workers)

    @property
    def is_clean(self) -> bool:
        """Whether no job was abandoned and nothing went wrong."""
        return self.abandoned == 0 and not self.errors
