"""A line of outcomes that are written one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from runledger.runtime.unwritten_outcome import Unwritten


class OutcomeLine:
    """Outcomes in the order in which they are written, each alone, on a connection that belongs to the line.

    Args:
        answer_timeout: How long the write of one may take.
    """

    def __init__(self, answer_timeout: timedelta) -> None:
        self.answer_timeout = answer_timeout
        self._items: deque[Unwritten] = deque()
        self._has_items = asyncio.Event()

    @property
    def items(self) -> list[Unwritten]:
        """What stands in the line."""
        return list(self._items)

    def add(self, item: Unwritten) -> None:
        """Put one at the end."""
        self._items.append(item)
        self._has_items.set()

    def keep(self, items: Iterable[Unwritten]) -> None:
        """Let go of all others."""
        self._items = deque(items)

    async def next(self) -> Unwritten:
        """Take the first, as soon as there is one."""
        while not self._items:
            self._has_items.clear()
            await self._has_items.wait()
        return self._items.popleft()
