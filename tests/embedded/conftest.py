"""Directories for servers, and processes that use them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from runledger.embedded import EmbeddedServer
from tests.embedded.processes import await_stopped, run_python

# Uses the server until its standard input ends; says where it is.
_USER = """
import sys
from pathlib import Path
from runledger.embedded import EmbeddedServer
with EmbeddedServer.start(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="session")
def server_parent() -> Iterator[Path]:
    """A directory for data directories. As root, pytest's own are closed to the account of the server."""
    memory = Path("/dev/shm")  # noqa: S108
    parent = Path(tempfile.mkdtemp(prefix="runledger-tests-", dir=memory if memory.is_dir() else "/tmp"))  # noqa: S108
    parent.chmod(0o711)
    yield parent
    for locks in parent.glob("**/locks"):
        await_stopped(locks.parent)
    shutil.rmtree(parent)


@pytest.fixture
def new_data_dir(server_parent: Path) -> Path:
    """A path at which nothing is."""
    parent = Path(tempfile.mkdtemp(dir=server_parent))
    parent.chmod(0o711)
    return parent / "data"


@pytest.fixture(scope="session")
def made_data_dir(server_parent: Path) -> Path:
    """A data directory that was used once; copies of it save each test the making."""
    data_dir = server_parent / "made"
    EmbeddedServer.start(data_dir).close()
    await_stopped(data_dir)
    return data_dir


@pytest.fixture
def data_dir(new_data_dir: Path, made_data_dir: Path) -> Path:
    """A data directory whose server does not run."""
    # With owners and modes, which shutil does not copy.
    subprocess.run(["/bin/cp", "-a", made_data_dir, new_data_dir], check=True)
    return new_data_dir


@pytest.fixture
def start_user() -> Generator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts another process that uses the server, and returns when it does."""
    with contextlib.ExitStack() as stack:

        def start(data_dir: Path, *, script: str = _USER) -> subprocess.Popen[str]:
            user = stack.enter_context(run_python(script, data_dir))
            stack.callback(user.kill)
            assert user.stdout is not None
            assert user.stdout.readline().startswith("postgresql://")
            return user

        yield start
