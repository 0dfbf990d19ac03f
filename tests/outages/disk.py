"""A small disk of one test alone, which can be filled to the last byte."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

_CHUNK = 64 * 1024


class SmallDisk:
    """A file system in memory with a size.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        """Not for callers: use `small_disk`."""
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(_CHUNK))

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(megabytes: int) -> Generator[SmallDisk]:
    """Mount a file system, or skip the test where this process may not."""
    folder = Path(tempfile.mkdtemp(prefix="runledger-disk-", dir="/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=711", "tmpfs", folder]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False) if os.geteuid() == 0 else None
    except FileNotFoundError:
        mounted = None
    if mounted is None or mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("a disk that can be filled needs root and the right to mount")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S607 (as mount)
        folder.rmdir()
