"""Every public name is described in the reference, under the package it is imported from, and no other is."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import pytest

import runledger
from tests.docs.pages import DOCS, ROOT

_DIRECTIVE = re.compile(r"^\.\. (?:auto|py:)[a-z]+:: (?P<path>\S+)$", re.MULTILINE)
# They have a list of names and are not for applications.
_NOT_PUBLIC = {"runledger", "runledger.cli", "runledger.cli.arguments", "runledger.postgres.drivers.psycopg"}
# What parameters of operations have as type and default.
_BESIDES = {"runledger.postgres.catalogs.DEFAULT_LOCK_TIMEOUT", "runledger.postgres.notices.Notices"}


def _public_packages() -> list[str]:
    found: list[str] = []
    for path in (ROOT / "src").rglob("*.py"):
        if "\n__all__ = " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT / "src").with_suffix("").parts
            found.append(".".join(part for part in parts if part != "__init__"))
    return sorted(set(found) - _NOT_PUBLIC)


def _described() -> list[str]:
    pages = sorted((DOCS / "reference").glob("*.md"))
    return [found["path"] for page in pages for found in _DIRECTIVE.finditer(page.read_text(encoding="utf-8"))]


def _names_of(package: str) -> set[str]:
    module = importlib.import_module(package)
    names: list[str] = module.__all__
    return {f"{package}.{name}" for name in names if not isinstance(getattr(module, name), ModuleType)}


@pytest.mark.parametrize("package", _public_packages())
def test_every_name_that_a_package_offers_is_described(package: str) -> None:
    assert sorted(_names_of(package) - set(_described())) == []


def test_no_other_name_is_described() -> None:
    offered = set[str]().union(*(_names_of(package) for package in _public_packages()))
    assert set(_described()) - offered == _BESIDES


def test_names_that_most_programs_need_are_described_under_their_package() -> None:
    described = {path.rpartition(".")[2] for path in _described()}
    assert sorted(set(runledger.__all__) - described) == []
