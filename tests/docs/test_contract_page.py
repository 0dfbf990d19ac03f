"""What the page on the contract names exists: files, tests, names, tables, codes, variables, commands."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import pytest

from runledger.core import JobStage
from tests.docs.commands import all_commands
from tests.docs.pages import DOCS, ROOT

_PACKAGES = ("", ".core", ".postgres", ".runtime", ".embedded", ".testing")
_MAKE = re.compile(r"^([a-z-]+):", re.MULTILINE)


def _named() -> list[str]:
    """Return everything that stands in backticks in the tables of the page, each once."""
    rows = [
        line
        for line in (DOCS / "reference" / "contract.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    return sorted({name for row in rows for name in re.findall(r"`([^`]+)`", row)})


def _texts_of_the_code() -> str:
    return "".join(module.read_text(encoding="utf-8") for module in (ROOT / "src").rglob("*.py"))


def _attribute(path: str) -> bool:
    """Whether a dotted name can be imported, or is a public name of a package or an attribute of one."""
    if path.startswith("runledger."):
        module, _, name = path.rpartition(".")
        try:
            return hasattr(importlib.import_module(module), name)
        except ImportError:
            return False
    first, *rest = path.split(".")
    for package in _PACKAGES:
        found = getattr(importlib.import_module(f"runledger{package}"), first, None)
        for name in rest:
            found = getattr(found, name, None)
        if found is not None:
            return True
    return False


def _checks(name: str) -> Iterator[bool]:
    """Yield whether the name exists, as each kind of thing it may be the name of."""
    path, _, test = name.partition("::")
    file = ROOT / path
    if test:
        yield file.is_file() and re.search(rf"def {test}\(", file.read_text(encoding="utf-8")) is not None
    elif name.startswith("make "):
        yield name.removeprefix("make ") in _MAKE.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    elif name.startswith("runledger "):
        yield name.removeprefix("runledger ") in {command.words for command in all_commands()}
    elif re.fullmatch(r"[A-Z]+_[A-Z_]+", name):
        yield f"| `{name}` |" in (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
        yield _attribute(name)
    else:
        yield file.exists()
        yield _attribute(name)
        yield re.search(rf"\b{re.escape(name)}\b", (DOCS / "reference" / "schema.sql").read_text("utf-8")) is not None
        yield "." in name and f'"{name}"' in _texts_of_the_code()
        yield name in set(JobStage)


@pytest.mark.parametrize("name", _named())
def test_what_the_page_names_exists(name: str) -> None:
    assert any(_checks(name)), name


def test_every_feature_has_its_place_and_its_test() -> None:
    text = (DOCS / "reference" / "contract.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    features = [row for row in rows if row[0].strip() != "Feature"]
    assert len(features) > 70
    for feature, place, test in features:
        assert "`" in place or "](" in place, feature
        assert "`" in test, feature
