"""Pages whose examples are files: the files are written, the commands run, and what they print is compared.

A python block that begins with ``# name.py`` is the file of that name, and one without such a line goes on with the
file before it. In a console block each ``$ python …`` is run in the order of the page, and the lines that follow are
its output; ``^C`` after them interrupts it. Other commands are not run.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runledger.testing import EphemeralDatabase
from tests.docs.pages import DOCS, ROOT, Block, blocks_of

_FILE_NAME = re.compile(r"# (?P<name>\w+\.py)\n")
_INTERRUPT = "^C"
_SECONDS = 30


@dataclass(slots=True)
class _Command:
    words: list[str]
    output: list[str] = field(default_factory=list[str])
    is_interrupted: bool = False


_PAGES = [ROOT / "README.md", DOCS / "how-to" / "integrate-into-a-service.md", DOCS / "tutorial" / "first-job.md"]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_the_programs_of_a_page_print_what_it_says(
    page: Path, tmp_path: Path, runledger_database: EphemeralDatabase
) -> None:
    environment = os.environ | {"DATABASE_URL": runledger_database.url, "PYTHONUNBUFFERED": "1"}
    ran: set[str] = set()
    program = tmp_path / "no-file-is-named"
    for block in blocks_of(page):
        if block.language == "python":
            program = _write(block, tmp_path, program)
        elif block.language == "console":
            for command in _commands(block):
                if command.words[0] == "python":
                    assert _run(command, tmp_path, environment) == command.output, block.place
                    ran.add(command.words[1])
    assert ran, "the page runs nothing"
    assert {path.name for path in tmp_path.glob("*.py")} - ran == _imported(tmp_path)


def _write(block: Block, directory: Path, last: Path) -> Path:
    """Write the block into the file that it names, or go on with the last one, and return which that is."""
    header = _FILE_NAME.match(block.text)
    if header is None:
        last.write_text(f"{last.read_text(encoding='utf-8')}\n\n{block.text}", encoding="utf-8")
        return last
    program = directory / header["name"]
    program.write_text(block.text, encoding="utf-8")
    return program


def _imported(directory: Path) -> set[str]:
    programs = "".join(path.read_text(encoding="utf-8") for path in directory.glob("*.py"))
    return {path.name for path in directory.glob("*.py") if f"\nfrom {path.stem} import " in programs}


def _commands(block: Block) -> list[_Command]:
    commands: list[_Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(_Command(shlex.split(line[2:])))
        elif line == _INTERRUPT:
            commands[-1].is_interrupted = True
        else:
            commands[-1].output.append(line)
    return commands


def _run(command: _Command, directory: Path, environment: dict[str, str]) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, *command.words[1:]],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            printed: list[str] = []
            if command.is_interrupted:
                # Once it has printed all that the page shows, it waits for more work.
                while len(printed) < len(command.output) and (line := process.stdout.readline()):
                    printed.append(line.rstrip("\n"))
                process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=_SECONDS)
            printed += rest.splitlines()
        finally:
            process.kill()
    assert process.returncode == 0
    return printed
