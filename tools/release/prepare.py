"""The changes of a release, ready to be reviewed and committed by a person."""

from __future__ import annotations

from pathlib import Path

from packaging.version import Version

from tools.release.check import check_artifacts
from tools.release.steps import StepError, git, require, run, run_module, step, tree_problems
from tools.release.version import (
    changelog_versions,
    fragment_problems,
    fragments,
    parsed,
    state_version,
    stated_version,
    version_problems,
)

_UNDO = "To take back what was prepared so far: git reset --hard"


def prepare(root: Path, text: str, *, skips_tests: bool) -> None:
    """Give the checkout a version and its section of the changelog, and check it as it is then.

    Nothing is committed, tagged or uploaded.

    Args:
        root: The checkout.
        text: The version.
        skips_tests: Leave `make check` out, where it has passed on the same commit.

    Raises:
        StepError: Something must be repaired first.
    """
    version = parsed(text)
    step("The tree is clean, and can become this version")
    require([*tree_problems(root), *_obstacles(root, version)])
    try:
        change(root, version)
        if skips_tests:
            step("Tests are skipped")
        else:
            step("Everything that a change must pass")
            run("make", "check", root=root)
        check_artifacts(root)
    except StepError as error:
        raise StepError(f"{error}\n{_UNDO}") from None
    step("Prepared; these steps are yours")
    print(git("status", "--short", root=root))
    print(_remaining(version))


def change(root: Path, version: Version) -> None:
    """Write version, changelog and generated files.

    Raises:
        StepError: A tool failed, or the result does not agree with itself.
    """
    step(f"Version {version}, with the fragments in its changelog")
    state_version(root, version)
    run_module("towncrier", "build", "--yes", "--version", str(version), root=root)
    require(version_problems(root))
    step("Generated files")
    for tool in ("sync_ledger", "sql_lock", "schema_dump"):
        run_module(f"tools.{tool}", root=root)


def _obstacles(root: Path, version: Version) -> list[str]:
    problems = fragment_problems(root)
    stated = stated_version(root)
    if version.is_devrelease:
        problems.append(f"{version} is a version in development; it needs no preparation")
    if version.local is not None:
        problems.append(f"{version} is a local version, which the package index refuses; leave +{version.local} out")
    if version <= stated:
        problems.append(f"{version} does not follow {stated}, the version of pyproject.toml")
    if str(version) in changelog_versions(root):
        problems.append(f"CHANGELOG.md has a section for {version}")
    if not fragments(root):
        problems.append("there is no fragment in changes.d, so nothing to release")
    return problems


def _remaining(version: Version) -> str:
    return f"""\
1. Read the difference, above all the section in CHANGELOG.md, and commit it: Release {version}
2. make release-check          # the commit, and the artefacts in dist/ that it leaves
3. git tag --annotate v{version} --message "Runledger {version}"
4. Push commit and tag, and upload the two files in dist/ to the package index.
5. Set the next version in development in pyproject.toml, and commit it."""
