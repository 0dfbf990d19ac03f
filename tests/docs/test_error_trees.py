"""The trees of errors, on the page and in the docstring, are the classes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import runledger
from runledger.core import JobFailure, RunledgerError, errors
from tests.docs.pages import DOCS, blocks_of

_LINE = re.compile(r" *(?P<indent>(?:[│ ] {3})*)[├└]── (?P<name>\w+)(?P<rest>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    parent: str
    rest: str


def _tree(text: str) -> dict[str, _Line]:
    """Return the classes of a drawn tree."""
    lines: dict[str, _Line] = {}
    above = ["Exception"]
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            depth = len(found["indent"]) // 4 + 1
            above = [*above[:depth], found["name"]]
            assert found["name"] not in lines
            lines[found["name"]] = _Line(parent=above[-2], rest=found["rest"])
    return lines


def _tree_of_the_page() -> dict[str, _Line]:
    return _tree(next(block.text for block in blocks_of(DOCS / "reference" / "errors.md")))


def _classes() -> dict[str, type[Exception]]:
    for module in pkgutil.walk_packages(runledger.__path__, "runledger."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {cls.__name__: cls for cls in [JobFailure, RunledgerError, *_below(RunledgerError)]}


def _below(cls: type[RunledgerError]) -> Iterator[type[RunledgerError]]:
    for subclass in cls.__subclasses__():
        if subclass.__module__.startswith("runledger."):
            yield subclass
            yield from _below(subclass)


def _source_of(cls: type[Exception]) -> str:
    """Return the source of a class and of those of ours that it derives from."""
    return "".join(inspect.getsource(base) for base in cls.__mro__ if base.__module__.startswith("runledger."))


@pytest.mark.parametrize("text", ["page", "docstring"])
def test_a_tree_draws_every_class_under_the_one_it_derives_from(text: str) -> None:
    tree = _tree_of_the_page() if text == "page" else _tree(errors.__doc__ or "")
    assert {name: line.parent for name, line in tree.items()} == {
        name: cls.__bases__[0].__name__ for name, cls in _classes().items()
    }


def test_every_attribute_of_the_tree_on_the_page_exists() -> None:
    classes = _classes()
    for name, line in _tree_of_the_page().items():
        for attribute in re.findall(r"(?<![\w.])\.(\w+)", line.rest):
            is_set = re.search(rf"\bself\.{attribute} = ", _source_of(classes[name]))
            assert is_set or hasattr(classes[name], attribute), f"{name}.{attribute}"


def test_every_code_of_the_tree_in_the_docstring_is_on_the_page() -> None:
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    drawn = " ".join(line.rest for line in _tree(errors.__doc__ or "").values())
    names = re.findall(r"(?<![\w.])[a-z_]+\.[a-z_]+(?![\w.])", drawn)
    codes = [name for name in names if not name.startswith("runledger.")]
    assert codes
    for code in codes:
        assert f"| `{code}` |" in page, code
