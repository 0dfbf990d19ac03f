"""Every command, option and variable of the code is in the reference, and nothing else is.

That the page has no option which no command has, `tests/cli/test_arguments.py` says.
"""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.commands import Command, all_commands
from tests.docs.pages import DOCS, ROOT

_COMMAND_LINE = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
_CONFIGURATION = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (?P<cell>`.+?`[^|]*) \|", re.MULTILINE)
_SECTION = re.compile(r"^## (?P<heading>.+)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)
_VARIABLE = re.compile(r"JOBS_[A-Z_]+|RUNLEDGER_[A-Z_]+|DATABASE_URL|XDG_DATA_HOME")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_OF_THE_PLACE = "Where the tables are"
# Options of the whole program, which the introduction of the page names.
_OF_THE_PROGRAM = {"--help", "--version"}


def _sections() -> dict[str, str]:
    return {section["heading"]: section["text"] for section in _SECTION.finditer(_COMMAND_LINE)}


def _section_of(command: Command) -> str:
    """Return the text about a command: its section, or one that it shares with others."""
    name = command.words.partition(" ")[0]
    found = [text for heading, text in _sections().items() if f"`runledger {name}`" in heading]
    assert len(found) == 1, f"runledger {name} has {len(found)} sections"
    return found[0]


def _listed_commands() -> set[str]:
    """Return what the table at the top of the page lists; a row may name several actions of one command."""
    listed: set[str] = set()
    top = _COMMAND_LINE.partition("\n## ")[0]
    for row in _ROW.finditer(top):
        first, *others = re.findall(r"`([^`]+)`", row["cell"])
        words = [word for word in first.removeprefix("runledger ").split() if re.fullmatch("[a-z]+", word)]
        listed.add(" ".join(words))
        listed.update(f"{words[0]} {other}" for other in others)
    return listed


def test_the_table_of_commands_lists_each_and_no_other() -> None:
    commands = {command.words for command in all_commands()} - {""}
    with_actions = {words.partition(" ")[0] for words in commands if " " in words}
    assert _listed_commands() == commands - with_actions


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.words or "runledger")
def test_each_option_of_a_command_is_in_its_section(command: Command) -> None:
    everywhere = set(_OPTION.findall(_sections()[_OF_THE_PLACE])) | _OF_THE_PROGRAM
    assert set(_OPTION.findall(_COMMAND_LINE.partition("\n## ")[0])) >= _OF_THE_PROGRAM
    own = set(_OPTION.findall(_section_of(command))) if command.words else set[str]()
    assert command.options <= everywhere | own


def test_every_variable_that_the_code_reads_is_documented_and_no_other() -> None:
    read = {
        node.value
        for module in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _VARIABLE.fullmatch(node.value)
    }
    documented = {row["cell"].strip("` ") for row in _ROW.finditer(_CONFIGURATION)}
    assert documented == read


def test_variables_are_read_in_the_modules_of_this_list_only() -> None:
    """Another one may read a variable whose name no test above would find."""
    reading = {
        module.relative_to(ROOT / "src" / "runledger").as_posix()
        for module in (ROOT / "src").rglob("*.py")
        if re.search(r"\benviron\b|\bgetenv\b", module.read_text(encoding="utf-8"))
    }
    assert reading == {
        "cli/place.py",
        "embedded/binaries.py",
        "embedded/layout.py",
        "runtime/config.py",
        "testing/containers.py",
        "testing/scoped_env.py",
        "testing/server.py",
    }


def test_every_task_of_a_checkout_says_what_it_does_and_every_variable_of_it_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    tasks = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()) - {"FORCE"}
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == tasks
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for variable in re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE):
        assert re.search(rf"\b{variable}=", contributing), variable
        assert re.search(rf"\b{variable}\b", makefile.partition("\n\n")[0]), variable
