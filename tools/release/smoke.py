"""The smoke test: what a consumer gets works without the repository (SMK-001 to SMK-005).

The built wheel is installed into a fresh environment in a temporary directory, the host project `tests/smoke/host` is
copied beside it, type-checked and run against a fresh database. Everything but the wheel comes from the package index,
in the versions of requirements/dev.lock.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import psycopg

from runledger.testing import create_ephemeral_database
from tools import setup_venv
from tools.release.artifacts import Artifacts
from tools.release.steps import ROOT, run

_HOST = ROOT / "tests" / "smoke" / "host"
_PINNED = re.compile(r"^(?P<requirement>[\w.\[\]-]+==[^\\]*?) \\$", re.MULTILINE)
_KEPT = ("HOME", "LANG", "PATH", "TMPDIR")
_SECONDS = 60


def smoke(artifacts: Artifacts) -> None:
    """Install the wheel and run the host project with it.

    Raises:
        StepError: Something failed; its output is above.
    """
    with tempfile.TemporaryDirectory(prefix="runledger-smoke-") as directory:
        host = Path(directory) / "host"
        environment = Path(directory) / "environment"
        shutil.copytree(_HOST, host, ignore=shutil.ignore_patterns("__pycache__"))
        python = _install(artifacts.wheel, host=host, environment=environment)
        _check_types(host, python)
        _run_host(host, python)


def _install(wheel: Path, *, host: Path, environment: Path) -> Path:
    """Install what the host requires and return the interpreter that has it."""
    constraints = host / "constraints.txt"
    locked = _PINNED.findall((ROOT / "requirements" / "dev.lock").read_text(encoding="utf-8"))
    constraints.write_text("\n".join([*locked, ""]), encoding="utf-8")
    setup_venv.create(environment)
    python = environment / "bin" / "python"
    install, check = setup_venv.installer(python)
    # The wheel by its address, so that a released version of the same number is never taken for it.
    ours = f"runledger-pg @ {wheel.resolve().as_uri()}"
    theirs = ["--requirement", str(host / "requirements.txt"), "--constraint", str(constraints)]
    run(*install, "--only-binary", ":all:", ours, *theirs, root=host)
    run(*check, root=host)
    return python


def _check_types(host: Path, python: Path) -> None:
    """A consumer's type checker finds the types in the package, and they fit its use."""
    (host / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}\n', encoding="utf-8")
    run(sys.executable, "-m", "pyright", "--project", str(host), "--pythonpath", str(python), root=host)


def _run_host(host: Path, python: Path) -> None:
    database = create_ephemeral_database("smoke")
    try:
        # A database as an application brings it: the host migrates it.
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA runledger CASCADE")
        # Nothing of this checkout: no PYTHONPATH, no JOBS_* variables.
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment = kept | {"DATABASE_URL": database.url}
        run(str(python), "-W", "error", "host.py", root=host, environment=environment, timeout_seconds=_SECONDS)
        # The command that came with the package, on the tables that the host has made.
        command = python.with_name("runledger")
        run(str(command), "check", root=host, environment=environment, timeout_seconds=_SECONDS)
    finally:
        database.drop()
