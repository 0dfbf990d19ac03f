"""Steps that end a release when they fail: one line says which step, one what is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.release.package import package_files

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


class StepError(Exception):
    """A step found something that must be repaired first; the text says what."""


def step(title: str) -> None:
    """Announce a step."""
    print(f"=== {title}", flush=True)


def require(problems: Sequence[str]) -> None:
    """Go on if there is no problem.

    Raises:
        StepError: There are some.
    """
    if problems:
        raise StepError("\n".join(problems))


def run(
    *command: str, root: Path, environment: Mapping[str, str] | None = None, timeout_seconds: float | None = None
) -> None:
    """Run a program whose output belongs to the person who releases.

    Raises:
        StepError: It failed, or took too long.
    """
    try:
        exit_code = subprocess.run(command, cwd=root, env=environment, timeout=timeout_seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        raise StepError(f"{' '.join(command)} did not end within {timeout_seconds} seconds") from None
    if exit_code:
        raise StepError(f"{' '.join(command)} failed with exit code {exit_code}")


def run_module(module: str, *arguments: str, root: Path) -> None:
    """Run a module of this environment.

    Raises:
        StepError: It failed.
    """
    run(sys.executable, "-m", module, *arguments, root=root)


def git(*arguments: str, root: Path) -> str:
    """Return what a git command prints.

    Raises:
        StepError: It failed.
    """
    result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, text=True)  # noqa: S607 (git is found on the PATH)
    if result.returncode:
        raise StepError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def tree_problems(root: Path) -> list[str]:
    """Return the files that are not committed: what is released must be what a commit names.

    Also files of the package that the lists of this checkout or of its user ignore: `git status` does not show them,
    and the builder, which reads .gitignore alone, takes them.
    """
    changed = [line[3:] for line in git("status", "--porcelain", root=root).splitlines()]
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "src", root=root).split("\0")
    hidden = {f"src/{name}" for name in package_files(root)} - set(listed)
    return [f"not committed: {name}" for name in [*changed, *sorted(hidden)]]
