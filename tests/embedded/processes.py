"""Processes of these tests: started, watched and waited for, without sleeping."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from runledger.embedded.layout import ServerLayout
from runledger.embedded.locks import exclusive

TIMEOUT_SECONDS = 20


def run_python(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a Python process with a script, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # It imports what we do, from where we do.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        process_group=0,
    )


def postmaster_of(data_dir: Path) -> int:
    """Return the process id of the running postmaster."""
    return int((data_dir / "pgdata/postmaster.pid").read_text().split("\n")[0])


def parent_of(process_id: int) -> int:
    """Return the id of the parent of a process."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


class Watched:
    """A process that need not be our child, and whose end can be waited for."""

    def __init__(self, process_id: int) -> None:
        self._descriptor = os.pidfd_open(process_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def kill(self) -> None:
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        self.await_end()

    def await_end(self) -> None:
        assert self._has_ended(TIMEOUT_SECONDS), "the process did not end"

    def is_alive(self) -> bool:
        return not self._has_ended(0)

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def await_stopped(data_dir: Path) -> None:
    """Wait until no server runs on the directory, and nobody watches it."""
    with exclusive(ServerLayout(data_dir=data_dir).watcher_lock, timeout_seconds=TIMEOUT_SECONDS):
        pass
