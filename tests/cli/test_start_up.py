"""The command starts quickly because nothing is loaded that is not needed, and ``import runledger`` with it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import runledger
from tests.cli.programs import COMMAND, ENVIRONMENT


def modules_after(statement: str) -> set[str]:
    """Return what a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, check=True, text=True)
    return set(result.stdout.splitlines())


@pytest.mark.parametrize(
    "statement",
    [
        "import runledger",
        "import runledger.cli",
        "from runledger.cli import main; main(['--help'])",
        "from runledger.cli import main; main(['worker', '--help'])",
    ],
)
def test_no_driver_and_no_runtime_is_loaded_before_a_command_needs_them(statement: str) -> None:
    loaded = modules_after(statement)

    assert "runledger" in loaded
    assert not loaded & {"psycopg", "asyncio", "logging", "rich", "runledger.core", "runledger.runtime"}


def test_a_name_of_the_core_loads_no_driver() -> None:
    assert not modules_after("from runledger import JobStatus") & {"psycopg", "asyncio"}


def test_every_public_name_is_loaded_from_the_package_that_type_checkers_see() -> None:
    tree = ast.parse(Path(runledger.__file__).read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert sorted(seen) == sorted(runledger.__all__)
    for name, package in seen.items():
        assert package is not None
        assert getattr(runledger, name) is getattr(importlib.import_module(package), name)


def test_names_are_listed_before_they_are_loaded() -> None:
    assert set(runledger.__all__) <= set(dir(runledger))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'runledger' has no attribute 'Ledgr'"):
        getattr(runledger, "Ledgr")  # noqa: B009 (a type checker would refuse the plain form)


def test_the_command_runs_as_a_module() -> None:
    result = subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT, capture_output=True, check=True, text=True)

    assert result.stdout.startswith("usage: runledger ")
    assert not result.stderr
