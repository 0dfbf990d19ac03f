"""The delay before a retry when neither the handler nor the registry has one of its own."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

_UNIT_MS = 5_000
_LONGEST_BASE_MS = 300_000
_SHORTEST_MS = 1_000
_SPREAD_MS = 1_000
_MAX_EXPONENT = 10


def retry_delay(job_id: UUID, attempt: int) -> timedelta:
    """Return the delay after a failed attempt: about 10 s, 20, 40, 80, 160, and 300 s from the sixth on.

    Half a second either way, taken from the job id, spreads jobs that failed together. The same job and
    attempt always give the same delay.

    Args:
        job_id: The job.
        attempt: The attempt that failed, from 1.
    """
    exponent = min(max(attempt, 1), _MAX_EXPONENT)
    base_ms = min(_UNIT_MS * 2**exponent, _LONGEST_BASE_MS)
    spread_ms = job_id.int % _SPREAD_MS - _SPREAD_MS // 2
    return timedelta(milliseconds=max(base_ms + spread_ms, _SHORTEST_MS))
