"""The files of the package in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "runledger"


def package_files(root: Path) -> set[str]:
    """Return what lies in the folder of the package, by paths below `src`. Whether git knows it is not asked."""
    source = root / "src"
    return {
        path.relative_to(source).as_posix()
        for path in (source / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
