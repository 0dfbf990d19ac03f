"""The sdist and the wheel: how they are built, and what must and must not be in them."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import Metadata

from tools.release.package import package_files
from tools.release.steps import run_module
from tools.release.version import stated_version

# Kinds of files that belong into the package. Another kind is a file that somebody forgot there, or a new line here.
_KINDS = {".py", ".sql", ".typed"}
_BESIDE_THE_PACKAGE = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
_OF_THE_WHEEL = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """What a release uploads.

    Attributes:
        sdist: The source archive.
        wheel: The wheel, built from that archive and not from the checkout, so that both are known to be whole.
    """

    sdist: Path
    wheel: Path


def build(root: Path, into: Path) -> Artifacts:
    """Build both. The backend is the one of the environment, which the lock pins; nothing is fetched.

    Raises:
        StepError: A build failed.
    """
    run_module("hatchling", "build", "--target", "sdist", "--directory", str(into), root=root)
    (sdist,) = into.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(sdist) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python 3.11 has since 3.11.4
            archive.extractall(directory)  # noqa: S202 (our own archive)
        (unpacked,) = Path(directory).iterdir()
        run_module("hatchling", "build", "--target", "wheel", "--directory", str(into), root=unpacked)
    (wheel,) = into.glob("*.whl")
    return Artifacts(sdist=sdist, wheel=wheel)


def artifact_problems(artifacts: Artifacts, root: Path) -> list[str]:
    """Return what is missing in the artefacts, what does not belong there, and what an index would refuse."""
    stem = f"runledger_pg-{stated_version(root)}"
    package = package_files(root)
    sdist, wheel = _members_of_sdist(artifacts.sdist), _members_of_wheel(artifacts.wheel)
    wanted = {
        artifacts.sdist: {f"{stem}/src/{name}" for name in package}
        | {f"{stem}/{name}" for name in _BESIDE_THE_PACKAGE},
        artifacts.wheel: package | {f"{stem}.dist-info/{name}" for name in _OF_THE_WHEEL},
    }
    metadata = {
        artifacts.sdist: sdist.get(f"{stem}/PKG-INFO", b""),
        artifacts.wheel: wheel.get(f"{stem}.dist-info/METADATA", b""),
    }
    problems = [
        f"src/{name}: no kind of file that the package has"
        for name in sorted(package)
        if Path(name).suffix not in _KINDS
    ]
    for path, members in ((artifacts.sdist, sdist), (artifacts.wheel, wheel)):
        problems += [f"{path.name}: lacks {name}" for name in sorted(wanted[path] - members.keys())]
        problems += [f"{path.name}: has {name}" for name in sorted(members.keys() - wanted[path])]
        problems += [
            f"{path.name}: {name} names the checkout" for name, content in members.items() if bytes(root) in content
        ]
        problems += [f"{path.name}: {problem}" for problem in _metadata_problems(metadata[path])]
    if metadata[artifacts.sdist] != metadata[artifacts.wheel]:
        problems.append("the metadata of sdist and wheel differ")
    return problems


def _members_of_sdist(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = ((member.name, archive.extractfile(member)) for member in archive)
        return {name: file.read() for name, file in files if file is not None}


def _members_of_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _metadata_problems(content: bytes) -> list[str]:
    """Return what an index refuses, and what its page would lack. The builder has compared the classifiers."""
    try:
        metadata = Metadata.from_email(content, validate=True)
    except ExceptionGroup as errors:
        return [str(error) for error in errors.exceptions]
    problems: list[str] = []
    if metadata.description_content_type != "text/markdown" or not metadata.description:
        problems.append("has no description in Markdown, the page of the project")
    if metadata.license_expression is None or metadata.license_files != ["LICENSE"]:
        problems.append("does not name the licence")
    return problems
