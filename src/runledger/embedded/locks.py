"""Locks that the kernel gives back when their holder dies, however it dies.

All are ``flock`` locks. They belong to the open file, so a forked child shares those of its parent, and they
end when the last copy of the descriptor is closed. Python opens files close-on-exec: programs started by the
application do not keep them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.01


@contextlib.contextmanager
def exclusive(path: Path, *, timeout_seconds: float) -> Generator[BinaryIO]:
    """Hold the lock alone within the block.

    Raises:
        TimeoutError: Another holder kept it for the whole time.
    """
    with _open(path) as lock:
        # flock knows no time limit, and a signal for one would belong to the application.
        deadline = time.monotonic() + timeout_seconds
        while not _try(lock, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{path} is held by another process")
            time.sleep(_POLL_SECONDS)
        yield lock
        # Not left to close: a child that another thread forked meanwhile has a copy of the descriptor. After
        # an error it is left to close: a program that was handed the lock may still be at work.
        fcntl.flock(lock, fcntl.LOCK_UN)


def share(path: Path) -> BinaryIO:
    """Take the lock together with others until the returned file is closed."""
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    except BaseException:
        lock.close()
        raise
    return lock


def is_held_alone(path: Path) -> bool:
    """Say whether somebody holds the lock alone at this moment."""
    with _open(path) as lock:
        return not _try(lock, fcntl.LOCK_SH)


def _open(path: Path) -> BinaryIO:
    # For the owner alone: whoever can open a file, even for reading, can lock it.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb")


def _try(lock: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
