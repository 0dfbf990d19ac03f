"""What lists, counts and metrics of jobs consist of. Nothing here holds a payload, checkpoint or output."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from runledger.core.jobs.status import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A job without its JSON and its key; the attributes are those of :class:`~runledger.core.JobRecord`."""

    id: UUID
    job_type: str
    organization_id: UUID | None
    status: JobStatus
    priority: int
    run_number: int
    attempt: int
    max_attempts: int
    timeout_seconds: int
    next_run_at: datetime
    lease_expires_at: datetime | None
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    stage: str
    progress_done: int | None
    progress_total: int | None
    progress_pct: Decimal | None
    status_reason: str | None
    last_error_code: str | None
    last_error_message: str | None = field(repr=False)
    workflow_step_id: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """A page of a list of jobs.

    Attributes:
        jobs: Newest first. There may be none although there is a cursor: only so many jobs are read for a page, and the
            filters let none of them through.
        next_cursor: Where the next page begins; ``None`` after the last one. It stays good when jobs are deleted.
    """

    jobs: list[JobSummary]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSummary:
    """A dead letter without its snapshots; the attributes are those of :class:`~runledger.core.JobDeadLetter`."""

    job_id: UUID
    job_type: str
    organization_id: UUID | None
    run_number: int
    attempt: int
    error_code: str | None
    error_message: str | None = field(repr=False)
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPage:
    """A page of a list of dead letters; as :class:`JobPage`.

    Attributes:
        dead_letters: The dead letters, the latest first.
        next_cursor: Where the next page begins; ``None`` after the last one.
    """

    dead_letters: list[DeadLetterSummary]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """How many jobs there are, as far as a reading of bounded cost can tell.

    Attributes:
        count: How many jobs were found.
        is_exact: Whether that is all; else it is at least so many.
    """

    count: int
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetrics:
    """What a job type has waiting and running, and what its attempts came to.

    Attributes:
        job_type: The type.
        paused_at: Since when an operator has paused it, or ``None``.
        pending: How many jobs wait.
        leased_count: How many are held by workers.
        stale_lease_count: How many of those have a lease that is over.
        succeeded_count: Attempts that succeeded.
        retryable_count: Attempts that failed, to be tried again.
        terminal_count: Attempts that failed for good.
        panicked_count: Attempts whose handler crashed.
        timeout_count: Attempts that took too long.
        canceled_count: Attempts whose job was canceled while they ran.
        dead_lettered_count: Jobs that were given up.
        p50_duration_ms: The median of the durations of all these attempts and of those that lost their lease; ``None``
            where there was none.
        p95_duration_ms: What 95 of 100 did not exceed.
    """

    job_type: str
    paused_at: datetime | None
    pending: JobCount
    leased_count: int
    stale_lease_count: int
    succeeded_count: int
    retryable_count: int
    terminal_count: int
    panicked_count: int
    timeout_count: int
    canceled_count: int
    dead_lettered_count: int
    p50_duration_ms: float | None
    p95_duration_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetricsReport:
    """The metrics of all job types, as of one instant.

    Attributes:
        metrics: The metrics, in the order of the types.
        since: Attempts that began after this instant are counted, and jobs that were given up after it.
        until: The end of the period: the instant of the read.
    """

    metrics: list[JobMetrics]
    since: datetime
    until: datetime
