"""Waiting that ends early: by a wake-up or by the wish to stop."""

from __future__ import annotations

import asyncio


class WakeableWait:
    """One waiter's alarm clock. ``wake`` while nobody waits lets the next wait end at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for a wake-up, for at most so many seconds, and tell whether it came."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
