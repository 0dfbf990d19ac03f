"""Starting the worker program, and waiting for what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from typing import Any

PATIENCE_SECONDS = 30


class WorkerProcess:
    """A running worker program.

    Attributes:
        lines: What it said so far.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Not for callers: use `worker_process`."""
        self._process = process
        self.lines: list[str] = []

    async def until_said(self, event: str) -> None:
        """Read what it says until it says this."""
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while event not in self.lines:
                line = await self._process.stderr.readline()
                assert line, f"it ended without {event!r}: {self.lines}"
                self.lines.append(line.decode().rstrip())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def until_ended(self) -> int:
        """Wait for its end and return its exit code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, rest = await self._process.communicate()
        self.lines += rest.decode().splitlines()
        return await self._process.wait()


@contextlib.asynccontextmanager
async def worker_process(**settings: Any) -> AsyncGenerator[WorkerProcess]:
    """Start the worker program with its settings; what still runs at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.worker_program",
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # It imports what we do, from where we do.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    worker = WorkerProcess(process)
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        await process.stdin.drain()
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await worker.until_ended()
