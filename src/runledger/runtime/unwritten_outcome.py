"""An outcome on its way into the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from runledger.core.jobs.failure_text import clean_error_text
from runledger.postgres import jobs
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import Execution
from runledger.runtime.outcome import Dropped, Failed, Succeeded

_MANY_DEPENDENTS = 1_000


@dataclass(slots=True, eq=False)
class Unwritten:
    """An outcome that is not in the ledger yet, as far as the completer knows.

    Attributes:
        execution: The attempt that ended.
        outcome: How the attempt ended. Of one that was dropped the ledger is still to tell why its lease was lost.
        is_settled: Whether nothing is left to do about it here.
        is_held: Whether it waits for whoever keeps its job or its run locked.
        busy_count: How often somebody had locked its row when it was written with others.
    """

    execution: Execution
    outcome: Succeeded | Failed | Dropped
    is_settled: bool = False
    is_held: bool = False
    busy_count: int = 0

    @property
    def job_id(self) -> UUID:
        """The job."""
        return self.execution.job.job_id

    @property
    def is_plain(self) -> bool:
        """Whether the job carries out no step of a workflow."""
        return self.execution.job.workflow_run_id is None

    @property
    def releases_many(self) -> bool:
        """Whether so many steps wait for that of the job that its end would hold up other outcomes."""
        return self.execution.dependent_count > _MANY_DEPENDENTS

    @property
    def size(self) -> int:
        """About how many bytes it keeps in memory."""
        output = self.outcome.output_json if isinstance(self.outcome, Succeeded) else None
        return len(self.execution.job.payload_json) + len(output or "")

    def seconds_late(self) -> float:
        """How long ago its lease was last sure to be held; negative while it is."""
        return monotonic() - self.execution.lease_good_until

    def has_lost_lease(self) -> bool:
        """Whether it may not be written any more, so that only the ledger can tell what became of the attempt."""
        return isinstance(self.outcome, Dropped) or self.seconds_late() >= 0

    def is_recorded_as(self, recorded: jobs.AttemptOutcome) -> bool:
        """Whether the attempt ended in the ledger as it did here, so that an earlier write of it arrived."""
        if isinstance(self.outcome, Dropped):
            return False
        if isinstance(self.outcome, Succeeded):
            return recorded.failure_kind is None
        failure = self.outcome.failure
        return (recorded.failure_kind, recorded.error_code) == (failure.kind, clean_error_text(failure.code))
