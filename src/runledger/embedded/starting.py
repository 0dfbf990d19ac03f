"""Bringing a server up: from whatever state the last one left to one that accepts connections."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from runledger.embedded import locks, watcher
from runledger.embedded.account import Account
from runledger.embedded.binaries import server_environment, usable_binaries
from runledger.embedded.cluster import (
    initialise_cluster,
    is_served_durably,
    server_command,
    write_access_rules,
)
from runledger.embedded.errors import EmbeddedServerError
from runledger.embedded.layout import ServerLayout

# Whether the connection is to be encrypted, which a server answers with one byte, and does not log.
_QUESTION = struct.pack("!ii", 8, 80877103)
_CONNECT_SECONDS = 5
_POLL_SECONDS = 0.01
_LOG_TAIL_LINES = 20
_LOG_TAIL_BYTES = 8192


def ensure_running(
    layout: ServerLayout,
    *,
    owner: Account,
    account: Account,
    durable: bool,
    timeout_seconds: float,
    start_lock: BinaryIO,
) -> None:
    """Return with a server that accepts connections; the caller holds ``start_lock`` and is a user already.

    Raises:
        EmbeddedServerError: The server does not start, or runs already but not as durable as asked for.
    """
    if _is_running(layout, timeout_seconds=timeout_seconds):
        if durable and not is_served_durably(layout):
            raise EmbeddedServerError(
                f"the server in {layout.data_dir} runs with durable=False for somebody else; "
                "choose another data directory, or wait until it has stopped",
                code="embedded.not_durable",
            )
        return
    if not account.is_ours:
        _refuse_unreachable(layout.data_dir, account)
    binaries = usable_binaries(account)
    if not layout.cluster.exists():
        initialise_cluster(layout, binaries, account, durable=durable, start_lock=start_lock)
    write_access_rules(layout, owner, account)
    _launch(
        layout,
        account,
        server_command(layout, binaries, durable=durable),
        timeout_seconds=timeout_seconds,
        start_lock=start_lock,
    )


def _is_running(layout: ServerLayout, *, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while locks.is_held_alone(layout.watcher_lock):
        if _answers(layout.socket):
            return True
        # The postmaster was killed a moment ago, and the watcher is about to notice.
        if time.monotonic() >= deadline:
            raise EmbeddedServerError(
                f"the server in {layout.data_dir} does not answer; its log is {layout.log_file}",
                code="embedded.start_failed",
            )
        time.sleep(_POLL_SECONDS)
    return False


def _answers(address: Path) -> bool:
    """Whether a server takes connections and serves them.

    To connect is not enough: a child that the postmaster was about to make when it was killed keeps its socket for a
    moment, and there nobody serves.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_SECONDS)
        try:
            client.connect(str(address))
            client.sendall(_QUESTION)
            return client.recv(1) != b""
        except BlockingIOError:
            return True  # So many are waiting that there is no place in the queue.
        except OSError:
            return False


def _refuse_unreachable(data_dir: Path, account: Account) -> None:
    # Tried, not deduced from modes: access lists and mount options count as well.
    try:
        entered = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", data_dir],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            env=server_environment(),
            **account.credentials,
        )
    except OSError as error:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and this process may not start others as {account.name!r}: "
            f"{error.strerror}; run it as an ordinary user",
            code="embedded.account_unusable",
        ) from error
    if entered.returncode != 0:
        raise EmbeddedServerError(
            f"the account {account.name!r}, which runs the server because PostgreSQL refuses root, "
            f"cannot enter {data_dir}; choose a data directory that others can reach, "
            f"for example /var/lib/runledger/{data_dir.name}",
            code="embedded.data_dir_unusable",
        )


def _launch(
    layout: ServerLayout,
    account: Account,
    command: list[str],
    *,
    timeout_seconds: float,
    start_lock: BinaryIO,
) -> None:
    if layout.log_file.exists():
        layout.log_file.replace(layout.previous_log_file)
    with layout.log_file.open("xb") as log:
        layout.log_file.chmod(0o600)
        try:
            # Isolated and without site-packages: it starts faster, and nothing of the host can interfere.
            # A session of its own keeps the terminal's signals away.
            launched = subprocess.run(
                [
                    *(sys.executable, "-I", "-S", watcher.__file__),
                    *(layout.locks, layout.cluster, layout.socket_dir),
                    *(str(account.uid), str(account.gid), str(timeout_seconds), str(start_lock.fileno())),
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                check=False,
                cwd="/",
                env=server_environment(),
                start_new_session=True,
                pass_fds=[start_lock.fileno()],
            )
        except OSError as error:
            raise EmbeddedServerError(
                f"the server needs a Python to watch it, and sys.executable, {sys.executable!r}, "
                f"does not run: {error.strerror}",
                code="embedded.start_failed",
            ) from error
    report = launched.stdout.decode()
    if report != "ready":
        raise EmbeddedServerError(
            f"PostgreSQL did not start in {layout.data_dir}: "
            f"{report or 'its watcher ended before it could report'}\n{_tail(layout.log_file)}",
            code="embedded.start_failed",
        )


def _tail(log_file: Path) -> str:
    with log_file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join([f"last lines of {log_file}:", *lines[-_LOG_TAIL_LINES:]])
