"""Running the command in this process, without the variables of whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import runledger.embedded
from runledger.cli import main
from tests.embedded.processes import await_stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a command left.

    Attributes:
        exit_code: Its exit code.
        out: Its standard output.
        err: Its standard error.
    """

    exit_code: int
    out: str
    err: str


RunCommand = Callable[..., Ended]


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that the command reads."""
    for name in list(os.environ):
        if name.startswith(("JOBS_", "PG")) or name in {
            "DATABASE_URL",
            "RUNLEDGER_DATABASE_URL",
            "RUNLEDGER_SCHEMA",
        }:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def forgotten_imports() -> Iterator[None]:
    """Forget the application ``shop`` that a test imported: the next test has another one of this name."""
    path = sys.path.copy()
    yield
    sys.path[:] = path
    for name in list(sys.modules):
        if name.partition(".")[0] == "shop":
            del sys.modules[name]


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Runs the command with these words and returns what it left."""

    def run(*words: str) -> Ended:
        capsys.readouterr()
        exit_code = main(words)
        captured = capsys.readouterr()
        return Ended(exit_code=exit_code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def server_parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where embedded servers keep their data. As root, pytest's own directories are closed to their account."""
    memory = Path("/dev/shm")  # noqa: S108
    parent = Path(tempfile.mkdtemp(prefix="runledger-cli-", dir=memory if memory.is_dir() else "/tmp"))  # noqa: S108
    parent.chmod(0o711)
    original = runledger.embedded.default_data_dir
    monkeypatch.setattr(runledger.embedded, "default_data_dir", lambda name: parent / original(name).name)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    yield parent
    for locks in parent.glob("*/locks"):
        await_stopped(locks.parent)
    shutil.rmtree(parent)
