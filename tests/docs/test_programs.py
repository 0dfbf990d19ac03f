"""Pages whose examples are files: the files are written, the commands run, and what they print is compared.

A python block that begins with ``# name.py`` is the file of that name. The console blocks are one session;
:mod:`tests.docs.consoles` says what is run of them, and how.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runledger.testing import EphemeralDatabase
from tests.docs.consoles import Session, commands_of
from tests.docs.pages import DOCS, ROOT, blocks_of

_PAGES = [ROOT / "README.md", DOCS / "tutorial" / "first-job.md", DOCS / "tutorial" / "first-workflow.md"]
_FILE_NAME = re.compile(r"# (?P<name>\w+\.py)\n")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_the_programs_of_a_page_print_what_it_says(
    page: Path, tmp_path: Path, runledger_database: EphemeralDatabase
) -> None:
    ran: set[str] = set()
    with Session(tmp_path, runledger_database.url) as session:
        for block in blocks_of(page):
            if block.language == "python" and (header := _FILE_NAME.match(block.text)):
                (tmp_path / header["name"]).write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                for command in commands_of(block):
                    assert session.run(command) == command.output, block.place
                    ran.update(command.words[1:2])
        assert not session.has_left_running, "the page does not say how its last program ends"
    assert ran, "the page runs nothing"
    files = {path.name for path in tmp_path.glob("*.py")}
    assert files - ran == _imported(tmp_path)


def _imported(directory: Path) -> set[str]:
    programs = "".join(path.read_text(encoding="utf-8") for path in directory.glob("*.py"))
    return {path.name for path in directory.glob("*.py") if f"\nfrom {path.stem} import " in programs}
