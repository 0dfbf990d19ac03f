"""Waiting for log records: the runtime says what it did, so that tests need not ask."""

from __future__ import annotations

import asyncio
import logging


class LogWatch(logging.Handler):
    """Keeps the records of Runledger's loggers and wakes whoever waits for one.

    Attributes:
        records: All records, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._loop = asyncio.get_running_loop()
        self._has_news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self._loop.call_soon_threadsafe(self._has_news.set)

    def named(self, event: str) -> list[logging.LogRecord]:
        """Return the records of one event."""
        return [record for record in self.records if record.msg == event]

    def codes(self, event: str) -> list[object]:
        """Return the error codes that the records of one event carry."""
        return [vars(record).get("code") for record in self.named(event)]

    async def wait_for(self, event: str, *, count: int = 1) -> logging.LogRecord:
        """Wait for so many records of an event and return the first."""
        async with asyncio.timeout(20):
            while len(self.named(event)) < count:
                self._has_news.clear()
                await self._has_news.wait()
        return self.named(event)[0]
