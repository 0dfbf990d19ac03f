"""The clock of a worker, and how long it waits for answers."""

from __future__ import annotations

import time
from datetime import timedelta

_SHORTEST_ANSWER_TIMEOUT = timedelta(seconds=5)


def monotonic() -> float:
    """Return the clock that leases and timeouts are measured by."""
    return time.monotonic()


def answer_timeout(lease_ttl: timedelta) -> timedelta:
    """Return how long a write may wait for its answer: as long as a lease lasts, but not for moments only."""
    return max(lease_ttl, _SHORTEST_ANSWER_TIMEOUT)
