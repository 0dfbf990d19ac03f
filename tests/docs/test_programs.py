"""Pages whose examples are files: the files are written, the commands run, and what they print is compared.

A python block that begins with ``# name.py`` is the file of that name, and one without such a line goes on with the
file before it. The console blocks are one session;
:mod:`tests.docs.consoles` says what is run of them, and how.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runledger.testing import EphemeralDatabase
from tests.docs.consoles import Session, commands_of
from tests.docs.pages import DOCS, ROOT, Block, blocks_of

_PAGES = [
    ROOT / "README.md",
    DOCS / "how-to" / "integrate-into-a-service.md",
    DOCS / "tutorial" / "first-job.md",
    DOCS / "tutorial" / "first-workflow.md",
]
_FILE_NAME = re.compile(r"# (?P<name>\w+\.py)\n")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_the_programs_of_a_page_print_what_it_says(
    page: Path, tmp_path: Path, runledger_database: EphemeralDatabase
) -> None:
    ran: set[str] = set()
    with Session(tmp_path, runledger_database.url) as session:
        program = tmp_path / "no-file-is-named"
        for block in blocks_of(page):
            if block.language == "python":
                program = _write(block, tmp_path, program)
            elif block.language == "console":
                for command in commands_of(block):
                    assert session.run(command) == command.output, block.place
                    ran.update(command.words[1:2])
        assert not session.has_left_running, "the page does not say how its last program ends"
    assert ran, "the page runs nothing"
    files = {path.name for path in tmp_path.glob("*.py")}
    assert files - ran == _imported(tmp_path)


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
