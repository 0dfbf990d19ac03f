"""The steps of a release, on copies of the checkout. `make smoke` is what runs a consumer."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from tools.release.artifacts import Artifacts, artifact_problems, build
from tools.release.check import check_sources
from tools.release.prepare import change, prepare
from tools.release.steps import ROOT, StepError, tree_problems
from tools.release.version import (
    changelog_versions,
    fragment_problems,
    fragments,
    parsed,
    state_version,
    stated_version,
    version_problems,
)

_NEEDED = ["CHANGELOG.md", "LICENSE", "README.md", "changes.d", "docs", "pyproject.toml", "src", "tests", "tools"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a version, an empty changelog and a fragment."""
    (tmp_path / "changes.d").mkdir()
    (tmp_path / "changes.d" / "README.md").touch()
    (tmp_path / "changes.d" / "+words.added.md").write_text("Something new.\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the checkout, everything committed, in development: the checkout may be a release itself."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    copy = tmp_path / "checkout"
    copy.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in _NEEDED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, copy / name, ignore=ignored)
        else:
            shutil.copy(path, copy)
    shutil.copy(ROOT / ".gitignore", copy)
    state_version(copy, Version("900.0.0.dev0"))
    (copy / "changes.d" / "+copy.fixed.md").write_text("A copy can be released.\n", encoding="utf-8")
    _git(copy, "init", "--quiet")
    _commit(copy)
    return copy


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def _git(repository: Path, *arguments: str) -> None:
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, *arguments], cwd=repository, check=True)  # noqa: S607


def _commit(repository: Path) -> None:
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--message", "All of it")


def test_the_fragments_of_the_checkout_are_valid() -> None:
    assert fragment_problems(ROOT) == []


def test_the_version_of_the_checkout_agrees_with_its_changelog() -> None:
    assert version_problems(ROOT) == []


@pytest.mark.parametrize("name", ["words.added.md", "+words.news.md", "+words.added.txt", "+words.md", "17.md"])
def test_a_fragment_that_towncrier_would_not_collect_is_a_problem(project: Path, name: str) -> None:
    (project / "changes.d" / name).write_text("Something.\n", encoding="utf-8")

    (problem,) = fragment_problems(project)

    assert name in problem


def test_an_empty_fragment_is_a_problem(project: Path) -> None:
    (project / "changes.d" / "17.fixed.md").write_text("\n", encoding="utf-8")

    assert fragment_problems(project) == ["changes.d/17.fixed.md: is empty"]


@pytest.mark.parametrize("text", ["", "next", "1.0.0-rc1", "v1.0"])
def test_a_version_has_its_normal_form(text: str) -> None:
    with pytest.raises(StepError):
        parsed(text)


def test_a_released_version_has_its_section_and_no_fragment_left(project: Path) -> None:
    state_version(project, Version("7.0.0"))

    assert len(version_problems(project)) == 2

    (project / "CHANGELOG.md").write_text("## 7.0.0 (2026-05-01)\n\n## 6.0.0 (2026-04-01)\n", encoding="utf-8")
    fragments(project)[0].unlink()

    assert version_problems(project) == []


def test_the_artefacts_hold_the_package_and_nothing_else(artifacts: Artifacts) -> None:
    assert artifact_problems(artifacts, ROOT) == []


def test_a_missing_and_a_strange_file_are_problems_of_an_artefact(artifacts: Artifacts, tmp_path: Path) -> None:
    wheel = tmp_path / artifacts.wheel.name
    with zipfile.ZipFile(artifacts.wheel) as whole, zipfile.ZipFile(wheel, "w") as partial:
        for name in whole.namelist():
            if not name.endswith(("py.typed", "licenses/LICENSE")):
                partial.writestr(name, whole.read(name))
        partial.writestr("tests/test_it.py", f"ROOT = {str(ROOT)!r}")

    problems = artifact_problems(Artifacts(sdist=artifacts.sdist, wheel=wheel), ROOT)

    dist_info = f"runledger_pg-{stated_version(ROOT)}.dist-info"
    assert problems == [
        f"{wheel.name}: lacks runledger/py.typed",
        f"{wheel.name}: lacks {dist_info}/licenses/LICENSE",
        f"{wheel.name}: has tests/test_it.py",
        f"{wheel.name}: tests/test_it.py names the checkout",
    ]


def test_a_file_that_only_the_checkout_ignores_is_not_committed(repository: Path) -> None:
    """`git status` does not show it, and the builder would take it."""
    assert tree_problems(repository) == []
    (repository / ".git" / "info" / "exclude").write_text("scratch.py\n", encoding="utf-8")
    (repository / "src" / "runledger" / "scratch.py").touch()

    assert tree_problems(repository) == ["not committed: src/runledger/scratch.py"]


def test_metadata_that_an_index_refuses_are_a_problem(artifacts: Artifacts, tmp_path: Path) -> None:
    wheel = tmp_path / artifacts.wheel.name
    with zipfile.ZipFile(artifacts.wheel) as whole, zipfile.ZipFile(wheel, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            changed.writestr(name, content.replace(b"\nSummary: ", b"\nSummary: a\n        b ", 1))

    problems = artifact_problems(Artifacts(sdist=artifacts.sdist, wheel=wheel), ROOT)

    assert "the metadata of sdist and wheel differ" in problems
    assert any("summary" in problem for problem in problems)


def test_the_sdist_builds_without_the_repository(artifacts: Artifacts) -> None:
    with tarfile.open(artifacts.sdist) as archive:
        folders = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}

    assert folders.isdisjoint({"tests", "tools", "docs", "changes.d", ".ci", "requirements", "benchmarks", "demo"})


@pytest.mark.slow
def test_a_prepared_release_passes_its_check_once_it_is_committed(repository: Path, tmp_path: Path) -> None:
    waiting = [path.read_text(encoding="utf-8").strip()[:40] for path in fragments(repository)]

    change(repository, Version("900.0.0"))

    assert tree_problems(repository)
    assert (str(stated_version(repository)), fragments(repository)) == ("900.0.0", [])
    assert changelog_versions(repository)[0] == "900.0.0"
    section = " ".join((repository / "CHANGELOG.md").read_text(encoding="utf-8").split())
    assert [text for text in waiting if " ".join(text.split()) not in section] == []

    _commit(repository)
    check_sources(repository)
    assert artifact_problems(build(repository, tmp_path / "dist"), repository) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("900.0.0.dev1", "is a version in development"),
        ("900.0.0+local", "is a local version"),
        ("899.0.0", "does not follow"),
        ("900.0.0", "not committed: README.md"),
    ],
)
def test_a_release_that_cannot_be_prepared_changes_nothing(repository: Path, version: str, problem: str) -> None:
    if "README" in problem:
        (repository / "README.md").write_text("changed\n", encoding="utf-8")
    before = tree_problems(repository)

    with pytest.raises(StepError, match=problem):
        prepare(repository, version, skips_tests=True)

    assert tree_problems(repository) == before
