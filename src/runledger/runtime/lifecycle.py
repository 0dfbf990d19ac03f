"""What happens to jobs in a worker, for those who watch it: metrics, traces, a log of one's own."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from runledger.core.jobs.records import LeaseIdentity


class LifecycleEventKind(StrEnum):
    """What happened to an attempt. An attempt begins with STARTED and ends with one of the others."""

    STARTED = "STARTED"
    """It was claimed, which is its start."""

    SUCCEEDED = "SUCCEEDED"
    """Its success is in the ledger."""

    RETRY_SCHEDULED = "RETRY_SCHEDULED"
    """Its failure is in the ledger, and the job is due again."""

    DEAD_LETTERED = "DEAD_LETTERED"
    """Its failure is in the ledger, and the job has no attempt left. A reaper tells it too."""

    CANCELED = "CANCELED"
    """The job was canceled while it ran. Nothing was written for the attempt."""

    LEASE_LOST = "LEASE_LOST"
    """Nothing was written for the attempt: its lease was lost, or is left to end; ``code`` tells why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleEvent:
    """Something that happened to an attempt, after it was committed.

    Attributes:
        kind: The kind of event.
        lease: Job, run, attempt and worker; of a reaper's event the worker is ``reaper``.
        job_type: The type of the job.
        organization_id: The tenant that it belongs to, or ``None``.
        code: The code of the failure, or why nothing was written; ``None`` where there is none.
        duration: How long the handler ran; ``None`` for STARTED and where it was not called.
    """

    kind: LifecycleEventKind
    lease: LeaseIdentity
    job_type: str
    organization_id: UUID | None
    code: str | None = None
    duration: timedelta | None = None


class LifecycleObserver(Protocol):
    """Is told what happens to jobs, in batches, in order, never two batches at once.

    ``observe`` may be ``async`` or plain; a plain one runs in a thread. Best effort: nothing waits for an observer, so
    a crash loses what it was not told yet, and one that is too slow misses events.
    """

    def observe(self, events: Sequence[LifecycleEvent], /) -> Awaitable[None] | None:
        """Take a batch. What this raises is logged and harms nobody."""
        ...
