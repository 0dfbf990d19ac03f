"""Handlers: one that tests hold and let go, and one that ends at once."""

from __future__ import annotations

import asyncio
from typing import Any

from runledger.core import JobContext


def echo(context: JobContext, payload: Any) -> Any:
    """Return the payload; a plain function, which runs in a thread."""
    assert context
    return payload


async def loop_turned() -> None:
    """Let everything else that is ready run once."""
    loop = asyncio.get_running_loop()
    turned: asyncio.Future[None] = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


class Gate:
    """A handler that waits until it may go on, and returns its payload.

    Attributes:
        running: How many wait now.
        most: How many waited at once.
    """

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self._is_open = asyncio.Event()
        self._has_changed = asyncio.Event()

    def open(self) -> None:
        self._is_open.set()

    async def handle(self, context: JobContext, payload: Any) -> Any:
        assert context
        self._count(1)
        try:
            await self._is_open.wait()
        finally:
            self._count(-1)
        return payload

    async def until_running(self, count: int) -> None:
        """Wait until exactly so many wait."""
        async with asyncio.timeout(20):
            while self.running != count:
                self._has_changed.clear()
                await self._has_changed.wait()

    def _count(self, change: int) -> None:
        self.running += change
        self.most = max(self.most, self.running)
        self._has_changed.set()
