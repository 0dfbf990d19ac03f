"""The version: where it stands, and what the changelog and the fragments say about it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from tools.release.steps import StepError

_STATED = re.compile(r'^version = "(?P<version>[^"]*)"$', re.MULTILINE)
_HEADING = re.compile(r"^## (?P<version>\S+) \(", re.MULTILINE)
_FRAGMENT = re.compile(r"(\d+|\+[a-z0-9-]+)\.(?P<category>[a-z]+)\.md")
_NOTES_OF_THE_FOLDER = "README.md"


def stated_version(root: Path) -> Version:
    """Return the version of pyproject.toml, the only place where it stands.

    Raises:
        StepError: It is none, or not in its normal form.
    """
    return parsed(_project(root)["project"]["version"])


def parsed(text: str) -> Version:
    """Return a version.

    Raises:
        StepError: It is none, or not in its normal form.
    """
    try:
        version = Version(text)
    except InvalidVersion:
        raise StepError(f"{text!r} is no version of Python packages, such as 0.2.0 or 0.2.0rc1") from None
    if str(version) != text:
        raise StepError(f"write the version {text} in its normal form, {version}")
    return version


def state_version(root: Path, version: Version) -> None:
    """Write another version into pyproject.toml."""
    path = root / "pyproject.toml"
    text, count = _STATED.subn(f'version = "{version}"', path.read_text(encoding="utf-8"))
    if count != 1:
        raise StepError(f"pyproject.toml states its version on {count} lines, not on one")
    path.write_text(text, encoding="utf-8")


def fragments(root: Path) -> list[Path]:
    """Return the fragments that the next release collects."""
    files = (root / "changes.d").iterdir()
    return sorted(path for path in files if path.name != _NOTES_OF_THE_FOLDER and not path.name.startswith("."))


def fragment_problems(root: Path) -> list[str]:
    """Return what towncrier would leave out or render as nothing: it says no word about either."""
    categories = {kind["directory"] for kind in _project(root)["tool"]["towncrier"]["type"]}
    problems: list[str] = []
    for path in fragments(root):
        name = _FRAGMENT.fullmatch(path.name)
        if name is None or name["category"] not in categories:
            problems.append(f"changes.d/{path.name}: not <issue>.<category>.md or +<words>.<category>.md")
        elif not path.read_text(encoding="utf-8").strip():
            problems.append(f"changes.d/{path.name}: is empty")
    return problems


def changelog_versions(root: Path) -> list[str]:
    """Return the versions that the changelog has a section for, as they follow each other."""
    return _HEADING.findall((root / "CHANGELOG.md").read_text(encoding="utf-8"))


def version_problems(root: Path) -> list[str]:
    """Return where version, changelog and fragments disagree.

    Before a release the fragments wait and the changelog does not know the version; in a release the newest section is
    that of the version, and no fragment waits.
    """
    version = stated_version(root)
    sections = changelog_versions(root)
    if version.is_devrelease:
        return (
            [f"CHANGELOG.md has a section for {version}, which is in development"] if str(version) in sections else []
        )
    problems: list[str] = []
    if sections[:1] != [str(version)]:
        newest = sections[0] if sections else "none"
        problems.append(f"the version is {version}, the newest section of CHANGELOG.md is {newest}")
    if waiting := fragments(root):
        problems.append(f"{len(waiting)} fragments in changes.d are not in the section of {version}")
    return problems


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
