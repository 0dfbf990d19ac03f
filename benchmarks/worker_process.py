"""Worker programs, started and asked from here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_STOP_SECONDS = 30
_LOOK_SECONDS = 0.02


class WorkerProcess:
    """A running worker program; made by :func:`worker_process`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, request: str) -> None:
        """Send a request. Its answer is what :meth:`receive` returns."""
        assert self._process.stdin is not None  # noqa: S101 (it is a pipe)
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Wait for an answer."""
        assert self._process.stdout is not None  # noqa: S101 (it is a pipe)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker process ended")
        return json.loads(line)

    def ask(self, request: str) -> dict[str, Any]:
        """Send a request and return its answer."""
        self.send(request)
        return self.receive()

    def until_executed(self, count: int) -> None:
        """Wait until it has called so many handlers."""
        until_all_executed([self], count)


def until_all_executed(workers: list[WorkerProcess], count: int) -> None:
    """Wait until the workers have called so many handlers together."""
    while sum(worker.ask("report")["executed"] for worker in workers) < count:
        time.sleep(_LOOK_SECONDS)


@contextmanager
def worker_process(url: str, configuration: str) -> Generator[WorkerProcess, None, None]:
    """Start a worker program, and stop it gracefully at the end.

    Args:
        url: The database.
        configuration: ``"default"`` or ``"tuned"``.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker_program", url, configuration],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield WorkerProcess(process)
            assert process.stdin is not None  # noqa: S101 (it is a pipe)
            process.stdin.close()
            if process.wait(_STOP_SECONDS) != 0:
                raise RuntimeError(f"the worker process ended with {process.returncode}")
        finally:
            process.kill()
