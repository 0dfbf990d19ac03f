"""Who keeps a server alive, and what happens when processes are killed."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from runledger.embedded import EmbeddedServer, EmbeddedServerError, starting
from runledger.embedded.account import owner_account, server_account
from runledger.embedded.binaries import usable_binaries
from runledger.embedded.cluster import server_command
from runledger.embedded.layout import ServerLayout
from tests.embedded.processes import (
    TIMEOUT_SECONDS,
    Watched,
    await_stopped,
    parent_of,
    postmaster_of,
    run_python,
)

StartUser = Callable[..., subprocess.Popen[str]]

# Its child inherits every descriptor that may be inherited, and lives as long as the standard input.
_USER_WITH_CHILD = """
import subprocess, sys
from pathlib import Path
from runledger.embedded import EmbeddedServer
server = EmbeddedServer.start(Path(sys.argv[1]))
subprocess.Popen(["cat"], close_fds=False)
print(server.url, flush=True)
sys.stdin.read()
"""

# The parent ends at once; the child goes on until the standard input ends.
_FORKING_USER = """
import os, sys
from pathlib import Path
from runledger.embedded import EmbeddedServer
server = EmbeddedServer.start(Path(sys.argv[1]))
print(server.url, flush=True)
if os.fork() > 0:
    os._exit(0)
sys.stdin.read()
"""


def is_answering(data_dir: Path) -> bool:
    socket_dir = ServerLayout(data_dir=data_dir).socket_dir
    with psycopg.connect(host=str(socket_dir), user="postgres", dbname="postgres") as connection:
        return connection.execute("SELECT true").fetchone() == (True,)


def test_server_stops_when_its_last_user_closes_it(data_dir: Path) -> None:
    first = EmbeddedServer.start(data_dir)
    second = EmbeddedServer.start(data_dir)
    with Watched(postmaster_of(data_dir)) as postmaster:
        first.close()
        assert is_answering(data_dir)
        second.close()
        postmaster.await_end()


def test_killed_user_stops_the_server_although_its_children_live(data_dir: Path, start_user: StartUser) -> None:
    user = start_user(data_dir, script=_USER_WITH_CHILD)
    with Watched(postmaster_of(data_dir)) as postmaster:
        user.kill()
        postmaster.await_end()


def test_killed_user_does_not_stop_the_server_of_others(data_dir: Path, start_user: StartUser) -> None:
    user = start_user(data_dir)
    with EmbeddedServer.start(data_dir), Watched(postmaster_of(data_dir)) as postmaster:
        user.kill()
        user.wait(TIMEOUT_SECONDS)
        assert postmaster.is_alive()
        assert is_answering(data_dir)


def test_interrupt_of_the_terminal_reaches_only_the_starter(data_dir: Path, start_user: StartUser) -> None:
    user = start_user(data_dir)
    with EmbeddedServer.start(data_dir), Watched(postmaster_of(data_dir)) as postmaster:
        os.killpg(user.pid, signal.SIGINT)
        user.wait(TIMEOUT_SECONDS)
        assert postmaster.is_alive()
        assert is_answering(data_dir)


def test_server_keeps_no_pipe_of_its_starter_open(data_dir: Path, start_user: StartUser) -> None:
    user = start_user(data_dir)
    with EmbeddedServer.start(data_dir):
        # Reads to the end of the pipe, which comes when its last writer closes it.
        user.communicate(timeout=TIMEOUT_SECONDS)
        assert is_answering(data_dir)


def test_forked_child_keeps_the_server(data_dir: Path, start_user: StartUser) -> None:
    parent = start_user(data_dir, script=_FORKING_USER)
    with Watched(postmaster_of(data_dir)) as postmaster:
        parent.wait(TIMEOUT_SECONDS)
        assert is_answering(data_dir)
        assert parent.stdin is not None
        parent.stdin.close()
        postmaster.await_end()


def test_a_socket_that_nobody_serves_is_no_running_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A postmaster that was killed may leave one for a moment, in a child that was about to begin."""
    monkeypatch.setattr(starting, "_CONNECT_SECONDS", 0.05)
    answers: Callable[[Path], bool] = vars(starting)["_answers"]
    address = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as orphan:
        orphan.bind(str(address))
        orphan.listen()

        assert not answers(address)


def test_killed_postmaster_is_replaced(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as first:
        killed = postmaster_of(data_dir)
        with Watched(killed) as postmaster:
            postmaster.kill()
        with EmbeddedServer.start(data_dir) as second:
            assert second.url == first.url
            assert postmaster_of(data_dir) != killed
            assert is_answering(data_dir)


def test_backend_in_a_transaction_does_not_outlive_its_killed_postmaster(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as server, closing(psycopg.connect(server.url)) as connection:
        connection.execute("SELECT 1")
        with Watched(postmaster_of(data_dir)) as postmaster, Watched(connection.info.backend_pid) as backend:
            postmaster.kill()
            with EmbeddedServer.start(data_dir):
                backend.await_end()
                assert is_answering(data_dir)


def test_number_of_a_dead_postmaster_that_another_process_has_now_is_ignored(data_dir: Path) -> None:
    account = server_account(owner_account(), cluster=data_dir / "pgdata")
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, **account.credentials) as other:
        pid_file = data_dir / "pgdata/postmaster.pid"
        pid_file.write_text(f"{other.pid}\n{data_dir}/pgdata\n1\n5432\n{data_dir}/socket\n\n0 0\nready\n")
        pid_file.chmod(0o600)
        os.chown(pid_file, account.uid, account.gid)
        with EmbeddedServer.start(data_dir):
            assert postmaster_of(data_dir) != other.pid
            assert is_answering(data_dir)


def test_killed_watcher_takes_the_server_along_and_the_next_start_recovers(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir), Watched(postmaster_of(data_dir)) as postmaster:
        with Watched(parent_of(postmaster_of(data_dir))) as watcher:
            watcher.kill()
        with EmbeddedServer.start(data_dir):
            postmaster.await_end()
            assert is_answering(data_dir)


def test_server_that_lost_its_watcher_and_lives_on_is_replaced(data_dir: Path) -> None:
    """As on a system without death signals."""
    layout = ServerLayout(data_dir=data_dir)
    account = server_account(owner_account(), cluster=layout.cluster)
    binaries = usable_binaries(account)
    options = shlex.join(server_command(layout, binaries, durable=True)[3:])
    layout.prepare(account=account)
    with (layout.locks / "postgres.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pg_ctl = [
            binaries.program("pg_ctl"),
            "-D",
            layout.cluster,
            "-l",
            "/dev/null",
            "-o",
            options,
            "-w",
            "start",
        ]
        subprocess.run(pg_ctl, check=True, stdout=subprocess.DEVNULL, pass_fds=[lock.fileno()], **account.credentials)
    with Watched(postmaster_of(data_dir)) as abandoned, EmbeddedServer.start(data_dir):
        abandoned.await_end()
        assert is_answering(data_dir)


def test_terminated_watcher_shuts_the_server_down(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir):
        os.kill(parent_of(postmaster_of(data_dir)), signal.SIGTERM)
        await_stopped(data_dir)
    assert "database system is shut down" in ServerLayout(data_dir=data_dir).log_file.read_text()


def test_starter_killed_while_initdb_runs_leaves_no_half_made_data(
    new_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An installation whose initdb makes half of a data directory, says so, and goes on when it is told.
    bin_dir = new_data_dir.with_name("bin")
    bin_dir.mkdir()
    account = server_account(owner_account(), cluster=new_data_dir / "pgdata")
    for program in usable_binaries(account).bin_dir.iterdir():
        (bin_dir / program.name).symlink_to(program)
    begun, go_on = bin_dir / "begun", bin_dir / "go_on"
    for pipe in (begun, go_on):
        os.mkfifo(pipe)
        pipe.chmod(0o666)
    initdb = bin_dir / "initdb"
    initdb.unlink()
    initdb.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then exit 0; fi\n'
        f'touch "${{1#--pgdata=}}/PG_VERSION"; : > {begun}; read line < {go_on}; touch "${{1#--pgdata=}}/late"\n'
    )
    initdb.chmod(0o755)

    monkeypatch.setenv("RUNLEDGER_PG_BIN", str(bin_dir))
    with run_python(
        "import sys, pathlib; from runledger.embedded import EmbeddedServer;"
        "EmbeddedServer.start(pathlib.Path(sys.argv[1]))",
        new_data_dir,
    ) as starter:
        begun.read_bytes()
        starter.kill()
    monkeypatch.delenv("RUNLEDGER_PG_BIN")

    # initdb still holds the lock, so nobody comes between.
    with pytest.raises(EmbeddedServerError, match="another process"):
        EmbeddedServer.start(new_data_dir, timeout_seconds=0)
    go_on.write_text("\n")
    with EmbeddedServer.start(new_data_dir):
        assert is_answering(new_data_dir)
        assert not ServerLayout(data_dir=new_data_dir).unfinished_cluster.exists()


def test_starter_killed_while_the_server_starts_leaves_no_server(data_dir: Path) -> None:
    # PostgreSQL reads its configuration before anything else, and waits at this pipe.
    gate = data_dir / "pgdata/postgresql.auto.conf"
    account = server_account(owner_account(), cluster=data_dir / "pgdata")
    gate.unlink()
    os.mkfifo(gate)
    os.chown(gate, account.uid, account.gid)
    with run_python(
        "import sys, pathlib; from runledger.embedded import EmbeddedServer;"
        "EmbeddedServer.start(pathlib.Path(sys.argv[1]))",
        data_dir,
    ) as starter:
        writer = gate.open("w")
        starter.kill()
    gate.unlink()
    writer.close()
    await_stopped(data_dir)
    with EmbeddedServer.start(data_dir):
        assert is_answering(data_dir)
