"""Running the command in this process, without the variables of whoever runs the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from runledger.cli import main


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
