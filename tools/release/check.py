"""What must hold when a commit is released."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.release.artifacts import artifact_problems, build
from tools.release.smoke import smoke
from tools.release.steps import require, run_module, step, tree_problems
from tools.release.version import fragment_problems, stated_version, version_problems


def check(root: Path) -> None:
    """Check everything but the tests, and leave the artefacts in `dist`.

    Raises:
        StepError: Something must be repaired first.
    """
    check_sources(root)
    check_artifacts(root)


def check_sources(root: Path) -> None:
    """Check that the commit is whole.

    Raises:
        StepError: Something must be repaired first.
    """
    step("The tree is clean")
    require(tree_problems(root))
    step("Version, changelog and fragments agree")
    require([*version_problems(root), *fragment_problems(root)])
    run_module("towncrier", "build", "--draft", "--version", str(stated_version(root)), root=root)
    step("Generated files are current")
    for tool in ("sync_ledger", "sql_lock", "schema_dump"):
        run_module(f"tools.{tool}", "--check", root=root)


def check_artifacts(root: Path) -> None:
    """Build the artefacts into `dist`, and run a host project with them.

    Raises:
        StepError: They are not whole, hold what does not belong there, or do not work.
    """
    step("Artefacts are whole, and hold nothing else")
    dist = root / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    artifacts = build(root, dist)
    require(artifact_problems(artifacts, root))
    step("A host project works with them")
    smoke(artifacts)
