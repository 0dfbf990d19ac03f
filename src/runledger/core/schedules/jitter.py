"""Jitter: schedules that name the same time fire a little apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def fire_jitter(schedule_id: UUID, fire_at: datetime, *, max_jitter_seconds: int) -> timedelta:
    """Return how much later than its cron time a fire is due.

    The same schedule and time always give the same jitter, so every scheduler computes the same due time.

    Args:
        schedule_id: The schedule.
        fire_at: The cron time, an instant with a time zone.
        max_jitter_seconds: The longest jitter, zero or more.

    Returns:
        Whole seconds from zero to the longest, both included.
    """
    unix_ms = (fire_at - _EPOCH) // _MILLISECOND
    return timedelta(seconds=(schedule_id.int ^ unix_ms) % (max_jitter_seconds + 1))
