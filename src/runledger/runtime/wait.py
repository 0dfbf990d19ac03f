"""Waiting that ends early: by a wake-up or by the wish to stop."""

from __future__ import annotations

import asyncio

_FREE_MISSES = 2
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05


class WakeableWait:
    """One waiter's alarm clock. ``wake`` while nobody waits lets the next wait end at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._event.set()

    def clear(self) -> bool:
        """Forget a wake-up that nobody has waited for yet, and tell whether there was one."""
        was_woken = self._event.is_set()
        self._event.clear()
        return was_woken

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for a wake-up, for at most so many seconds, and tell whether it came."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Eagerness:
    """How soon to follow wake-ups that others hear as well.

    One job wakes every idle worker, and all but one find nothing. Who found nothing a few times in a row leaves the
    next jobs to the others for a moment, in which the wake-ups for them become one. Who finds a job is eager again.
    """

    def __init__(self) -> None:
        self._misses = 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next wake-up is followed."""
        if self._misses < _FREE_MISSES:
            return 0.0
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** (self._misses - _FREE_MISSES), _LONGEST_PAUSE_SECONDS)

    def claimed(self, count: int, *, is_woken: bool) -> None:
        """Note what a claim has brought, and whether it followed a wake-up."""
        if count:
            self._misses = 0
        elif is_woken and self.pause_seconds < _LONGEST_PAUSE_SECONDS:
            self._misses += 1
