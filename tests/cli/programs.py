"""The command as a process of its own: its lines, its signals, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import runledger

SOURCE = Path(runledger.__path__[0]).resolve().parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
COMMAND = (sys.executable, "-m", "runledger.cli")

_PATIENCE_SECONDS = 60


class Program:
    """A running command. What it writes, to standard output or error, is read line by line.

    Args:
        *words: Its arguments.
        directory: Where it is started.
        command: Another way to start it.
    """

    def __init__(self, *words: str, directory: Path, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            [*command, *words],
            cwd=directory,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        # A program that hangs would hang the test with it; killed, it ends what the test waits for.
        self._watchdog = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        self._watchdog.start()
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    def await_line(self, part: str) -> str:
        """Return the next line that contains ``part``."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if part in line:
                return self.lines[-1]
        raise AssertionError(f"the program ended without {part!r}:\n{self.text}")

    def write_line(self) -> None:
        """Give the program an empty line on its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def await_end(self) -> int:
        """Return the exit code when the program has ended."""
        assert self._process.stdout is not None
        self.lines += self._process.stdout.read().splitlines()
        return self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._process.poll() is None

    @property
    def text(self) -> str:
        """What was read so far."""
        return "\n".join(self.lines)
