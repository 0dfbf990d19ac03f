"""The layout on the page about the architecture names every package, and nothing that does not exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, blocks_of

_PACKAGE = ROOT / "src" / "runledger"
_LINE = re.compile(r"(?P<indent>(?:  )+)(?P<directory>[a-z_]+)/ +(?P<duty>[^()]+?)(?: \((?P<modules>[^()]+)\))?\n")
# Directories of the layout that hold SQL and are no packages.
_WITHOUT_MODULES = {"postgres/sql", "postgres/migrations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    directory: Path
    modules: list[str]


def _layout() -> list[_Line]:
    (block,) = (
        block
        for block in blocks_of(DOCS / "explanation" / "architecture.md")
        if block.text.startswith("src/runledger/\n")
    )
    lines: list[_Line] = []
    above: list[str] = []
    for text in block.text.splitlines(keepends=True)[1:]:
        line = _LINE.fullmatch(text)
        assert line is not None, text
        above = [*above[: len(line["indent"]) // 2 - 1], line["directory"]]
        modules = line["modules"].split(", ") if line["modules"] else list[str]()
        lines.append(_Line(directory=_PACKAGE.joinpath(*above), modules=modules))
    return lines


def test_the_layout_names_every_package_and_no_other() -> None:
    named = {line.directory.relative_to(_PACKAGE).as_posix() for line in _layout()}
    packages = {path.parent.relative_to(_PACKAGE).as_posix() for path in _PACKAGE.rglob("__init__.py")} - {"."}
    assert named - _WITHOUT_MODULES == packages
    assert all((_PACKAGE / directory).is_dir() for directory in _WITHOUT_MODULES)


def test_every_module_that_the_layout_names_exists() -> None:
    for line in _layout():
        for module in line.modules:
            assert (line.directory / f"{module}.py").is_file(), f"{line.directory.name}/{module}"
