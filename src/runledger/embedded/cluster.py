"""PostgreSQL's data directory: how it is made, and with which settings it is served."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import BinaryIO

from runledger.embedded.account import Account
from runledger.embedded.binaries import Binaries, server_environment
from runledger.embedded.errors import EmbeddedServerError
from runledger.embedded.layout import PORT, ServerLayout

SUPERUSER = "postgres"
"""The role that owns every new cluster."""

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "cluster_name": "runledger",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}
_NOT_DURABLE = "fsync=off"
_SETTINGS_WITHOUT_DURABILITY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Such data often lies in memory, where a gigabyte of log would be dear.
    "max_wal_size": "256MB",
}


def initialise_cluster(
    layout: ServerLayout, binaries: Binaries, account: Account, *, durable: bool, start_lock: BinaryIO
) -> None:
    """Make the data directory; the caller holds ``start_lock``.

    It becomes visible by one rename when it is complete. ``initdb`` keeps the lock as well, so that it has
    ended when the next starter comes, even if this process is killed meanwhile.

    Raises:
        EmbeddedServerError: ``initdb`` failed; the message ends with what it said.
    """
    unfinished = layout.unfinished_cluster
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if not account.is_ours:
        os.chown(unfinished, account.uid, account.gid)
    result = subprocess.run(
        [
            binaries.program("initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            "--auth=peer",
            "--encoding=UTF8",
            # The same order and case rules on every machine, whatever locales it has.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if durable else ["--no-sync"]),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        cwd="/",
        env=server_environment(),
        pass_fds=[start_lock.fileno()],
        **account.credentials,
    )
    if not (unfinished / "global/pg_control").exists() or result.returncode != 0:
        raise EmbeddedServerError(
            f"initdb failed with exit status {result.returncode}:\n{result.stdout.decode(errors='replace')}",
            code="embedded.init_failed",
        )
    unfinished.rename(layout.cluster)
    if durable:
        _sync_directory(layout.data_dir)


def write_access_rules(layout: ServerLayout, owner: Account, account: Account) -> None:
    """Let the owner, and root, connect as any role, and nobody else as any.

    The server asks the kernel who is at the other end of the socket. The account that runs the server is not
    admitted: as root that may be ``nobody``, which other programs share.
    """
    _write_for_server(layout.hba_file, "local all,replication all peer map=owner\n", account)
    names = sorted({owner.name, "root"})
    _write_for_server(layout.ident_file, "".join(f"owner {_quoted(name)} all\n" for name in names), account)


def server_command(layout: ServerLayout, binaries: Binaries, *, durable: bool) -> list[str]:
    """Return the command that runs the server in the foreground."""
    settings = {
        **_SETTINGS,
        "unix_socket_directories": _quoted(str(layout.socket_dir)),
        "hba_file": str(layout.hba_file),
        "ident_file": str(layout.ident_file),
        **({} if durable else _SETTINGS_WITHOUT_DURABILITY),
    }
    command = [binaries.program("postgres"), "-D", str(layout.cluster)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


def is_served_durably(layout: ServerLayout) -> bool:
    """Say whether the running server was started to survive a crash of the machine."""
    return _NOT_DURABLE not in (layout.cluster / "postmaster.opts").read_text(errors="replace")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _write_for_server(path: Path, text: str, account: Account) -> None:
    path.write_text(text, encoding="utf-8")
    if account.is_ours:
        path.chmod(0o600)
    else:
        os.chown(path, -1, account.gid)
        path.chmod(0o640)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
