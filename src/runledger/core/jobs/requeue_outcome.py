"""What a compare-and-requeue answers. None of these is an error: the caller asked whether it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from runledger.core.jobs.records import JobRecord
from runledger.core.jobs.status import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """The job waits for its first attempt of a new run.

    Attributes:
        job: The job as it is now.
    """

    job: JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationMismatch:
    """The world has moved on since the caller looked. Nothing was written.

    Attributes:
        status: The status of the job now.
        run_number: The run of the job now.
    """

    status: JobStatus
    run_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationNotQuiesced:
    """The handler of the canceled lease may still be running. Nothing was written.

    Attributes:
        retry_after: When that lease is over, counted from now by the clock of the database.
    """

    retry_after: timedelta


RequeueOutcome = Requeued | ExpectationMismatch | CancellationNotQuiesced
"""One of the three; ``match`` over it is exhaustive."""
