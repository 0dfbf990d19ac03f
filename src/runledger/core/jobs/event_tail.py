"""Events of all jobs, for whoever follows them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from runledger.core.jobs.records import JobEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TailedEvent:
    """An event of any job.

    Attributes:
        event: The event.
        job_type: The type of its job; ``None`` when the job is gone.
        organization_id: The tenant that the job belongs to, or ``None``.
        cursor: The place behind it. Who keeps this together with what it did about the event goes on there, and sees
            each event once.
    """

    event: JobEvent
    job_type: str | None
    organization_id: UUID | None
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some of the events of all jobs.

    Attributes:
        events: In the order of their ids; that of each job's own history.
        next_cursor: Where to read on; keep it also when there is no event.
        is_caught_up: Whether nothing waits, as far as could be seen. Else there is more to read at once, or soon:
            events beside which an older transaction still runs.
    """

    events: list[TailedEvent]
    next_cursor: str
    is_caught_up: bool
