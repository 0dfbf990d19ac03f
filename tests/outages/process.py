"""Starting the worker program, waiting for what it says, and how much it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

PATIENCE_SECONDS = 30


class OutageWorker:
    """A running worker program.

    Attributes:
        records: The log records of the process so far.
        other_lines: What it wrote besides, such as a traceback of the interpreter.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Not for callers: use `outage_worker`."""
        self._process = process
        self._has_news = asyncio.Event()
        self.records: list[dict[str, Any]] = []
        self.other_lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def until(self, event: str, *, count: int = 1) -> None:
        """Wait until it has said something so many times."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.counts()[event] < count:
                assert not self._reading.done(), f"it ended without {event!r}: {self.other_lines} {self.records}"
                self._has_news.clear()
                await self._has_news.wait()

    def counts(self, *, logger: str = "") -> Counter[str]:
        """Return how often it said what."""
        return Counter(record["event"] for record in self.records if record["logger"].startswith(logger))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def process_id(self) -> int:
        return self._process.pid

    async def until_ended(self) -> int:
        """Wait for its end and return its exit code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._reading
            return await self._process.wait()

    async def stop(self) -> None:
        """Stop it as a service manager does, and expect a clean end."""
        self.signal(signal.SIGTERM)
        assert await self.until_ended() == 0, self.other_lines

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if line.startswith(b"{"):
                self.records.append(json.loads(line))
            else:
                self.other_lines.append(line.decode().rstrip())
            self._has_news.set()
        self._has_news.set()


@contextlib.asynccontextmanager
async def outage_worker(
    url: str,
    worker_id: str,
    *,
    slots: int = 8,
    lease_ttl: float = 2,
    application_url: str | None = None,
    pool_size: int = 8,
    pool_timeout: float = 30,
    is_pool_given: bool = False,
) -> AsyncGenerator[OutageWorker]:
    """Start the worker program; what still runs at the end is killed.

    Args:
        url: Database of the worker.
        worker_id: Its name.
        slots: Jobs that it runs at once.
        lease_ttl: In seconds.
        application_url: Where handlers write their effects, if not through the worker's address.
        pool_size: Connections that the application's pool has at most.
        pool_timeout: Seconds that a handler waits for one of them.
        is_pool_given: Whether the worker uses the application's pool for its handlers' transactions.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.outages.program",
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
        # It imports what we do, from where we do.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    settings = {
        "url": url,
        "application_url": application_url or url,
        "pool_size": pool_size,
        "pool_timeout": pool_timeout,
        "is_pool_given": is_pool_given,
        "config": {"worker_id": worker_id, "max_global_concurrency": slots},
        "durations": {
            "lease_ttl": lease_ttl,
            "poll_interval": 0.05,
            "reaper_interval": 0.1,
            "reaper_retry_delay": 0,
        },
    }
    assert process.stdin is not None
    worker = OutageWorker(process)
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        await process.stdin.drain()
        await worker.until("supervisor.started")
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await worker.until_ended()
