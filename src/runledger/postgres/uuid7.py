"""Ids of new jobs, made by the client so that a repeated enqueue meets its own primary key."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_RANDOM_BITS = 62


class Uuid7Generator:
    """Makes version 7 UUIDs that rise strictly within a process, also when the host's clock steps back.

    As PostgreSQL's ``uuidv7()``: 48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 random bits.
    Rising ids keep the primary key's insertions at its right edge.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_tick = 0

    def next(self) -> UUID:
        """Return the next id."""
        nanoseconds = time.time_ns()
        milliseconds, rest = divmod(nanoseconds, 1_000_000)
        tick = milliseconds << 12 | (rest << 12) // 1_000_000
        with self._lock:
            tick = self._last_tick = max(tick, self._last_tick + 1)
        random_bits = int.from_bytes(os.urandom(8)) >> 2
        value = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << _RANDOM_BITS | random_bits
        return UUID(int=value)


_GENERATOR = Uuid7Generator()


def uuid7() -> UUID:
    """Return a new version 7 UUID, larger than the ones this process made before."""
    return _GENERATOR.next()
