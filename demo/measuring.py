"""The application of the demonstration: measure Python source files."""

from __future__ import annotations

import ast
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})

# Python 3.11 counts the recursion of its parser for all threads together: two of them at once end in a SystemError.
_PARSER = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSize:
    """What is counted in a module."""

    line_count: int
    function_count: int
    class_count: int
    import_count: int


def standard_library_files() -> Iterator[tuple[str, Path]]:
    """Yield name and file of every module of the running Python's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if _LEFT_OUT.isdisjoint(parts):
            yield ".".join(parts).removesuffix(".__init__"), path


def standard_library_packages() -> dict[str, list[str]]:
    """Return the files of each package of the standard library, by its name; modules that stand alone are left out."""
    packages: dict[str, list[str]] = {}
    for module, path in standard_library_files():
        packages.setdefault(module.partition(".")[0], []).append(str(path))
    return {name: paths for name, paths in packages.items() if len(paths) > 1}


def measure(source: bytes) -> ModuleSize:
    """Parse a module and count.

    Raises:
        SyntaxError: It is no Python.
    """
    with _PARSER:
        nodes = list(ast.walk(ast.parse(source)))
    return ModuleSize(
        line_count=source.count(b"\n") + 1,
        function_count=sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes),
        class_count=sum(isinstance(node, ast.ClassDef) for node in nodes),
        import_count=sum(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes),
    )
