"""The console blocks of a page, and a session in which their commands run.

Commands that begin with ``python`` or ``runledger`` are run, others are not. The lines that follow a command are its
output. After them

- ``^C`` interrupts it. A worker then ends the handlers that run and writes their outcomes, so the next command finds
  them. Jobs that they release may still run or not: nothing on the page can depend on those.
- ``…`` leaves it running, as in a terminal of its own. The block that begins with ``…`` has what it prints from then
  on. That a handler has printed does not tell that its job has ended: what depends on it has to wait for that itself,
  as ``result()`` does.

An id on the page stands for the one that was printed in its place, in later commands, too. Instants and lengths of time
that ``runledger`` prints may differ from those of the page.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from tests.docs.pages import Block

_PROGRAMS = {"python": [sys.executable], "runledger": [sys.executable, "-m", "runledger.cli"]}
# Its server would be one in the home of whoever runs the tests.
_NOT_RUN = ["runledger", "embedded"]
_INTERRUPT = "^C"
_GOES_ON = "…"
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|\d+(?:\.\d+)? (?:ms|s|min(?: \d+ s)?)\b)")
# They would lead the programs elsewhere.
_VARIABLES = re.compile(r"JOBS_\w+|RUNLEDGER_(?:DATABASE_URL|SCHEMA)")
_PATIENCE_SECONDS = 240


@dataclass(slots=True)
class Command:
    """A command on a page.

    Attributes:
        words: The command; nothing for what the program prints that was left running.
        output: The lines that it prints.
        is_left_running: Whether it goes on when it has printed them.
        is_interrupted: Whether it is interrupted when it has printed them.
    """

    words: list[str]
    output: list[str] = field(default_factory=list[str])
    is_left_running: bool = False
    is_interrupted: bool = False


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a console block that are run."""
    commands: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(shlex.split(line[2:])))
        elif line == _GOES_ON and not commands:
            commands.append(Command([]))
        elif line == _GOES_ON:
            commands[-1].is_left_running = True
        elif line == _INTERRUPT:
            commands[-1].is_interrupted = True
        else:
            commands[-1].output.append(line)
    return [command for command in commands if _is_run(command.words)]


def _is_run(words: list[str]) -> bool:
    return not words or (words[0] in _PROGRAMS and words[:2] != _NOT_RUN)


class Session:
    """Runs the commands of a page. Programs that still run at its end are killed.

    Args:
        directory: Where they run.
        database_url: What they find as ``DATABASE_URL``.
    """

    def __init__(self, directory: Path, database_url: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not _VARIABLES.fullmatch(name)}
        self._environment = inherited | {"DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}
        self._directory = directory
        self._processes = ExitStack()
        self._left_running: subprocess.Popen[str] | None = None
        self._printed_ids: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    @property
    def has_left_running(self) -> bool:
        """Whether a program was left running."""
        return self._left_running is not None

    def run(self, command: Command) -> list[str]:
        """Run a command, and return the lines that it printed, with the ids and times of the page."""
        process = self._start(command.words) if command.words else self._take_left_running()
        assert process.stdout is not None
        printed: list[str] = []
        if command.is_left_running or command.is_interrupted:
            printed += _read_lines(process.stdout, len(command.output))
        if command.is_left_running:
            assert self._left_running is None, "two programs are left running"
            self._left_running = process
        else:
            if command.is_interrupted:
                process.send_signal(signal.SIGINT)
            printed += process.stdout.read().splitlines()
            assert process.wait() == 0, command.words
        return self._as_on_the_page(command, printed)

    def _start(self, words: list[str]) -> subprocess.Popen[str]:
        program, *arguments = (_ID.sub(lambda id_: self._printed_ids[id_[0]], word) for word in words)
        process = subprocess.Popen(
            [*_PROGRAMS[program], *arguments],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        # A program that hangs would hang the test with it; killed, it ends what the test waits for.
        watchdog = threading.Timer(_PATIENCE_SECONDS, process.kill)
        watchdog.start()
        self._processes.callback(_end, process, watchdog)
        return process

    def _take_left_running(self) -> subprocess.Popen[str]:
        assert self._left_running is not None, "no program was left running"
        process, self._left_running = self._left_running, None
        return process

    def _as_on_the_page(self, command: Command, printed: list[str]) -> list[str]:
        self._remember_ids(command.output, printed)
        lines = printed
        for id_of_page, printed_id in self._printed_ids.items():
            lines = [line.replace(printed_id, id_of_page) for line in lines]
        if command.words[:1] == ["runledger"]:
            times = iter(_TIME.findall("\n".join(command.output)))
            lines = [_TIME.sub(lambda time: next(times, time[0]), line) for line in lines]
        return lines

    def _remember_ids(self, of_page: list[str], printed: list[str]) -> None:
        pairs = zip(_ID.findall("\n".join(of_page)), _ID.findall("\n".join(printed)), strict=False)
        for id_of_page, printed_id in pairs:
            if printed_id not in self._printed_ids.values():
                self._printed_ids.setdefault(id_of_page, printed_id)


def _read_lines(output: IO[str], count: int) -> Iterator[str]:
    while count and (line := output.readline()):
        yield line.rstrip("\n")
        count -= 1


def _end(process: subprocess.Popen[str], watchdog: threading.Timer) -> None:
    watchdog.cancel()
    process.kill()
    process.communicate()
