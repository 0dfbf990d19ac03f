"""Where the parts of one embedded server lie."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path

from runledger.core.errors import InvalidArgumentError
from runledger.embedded.account import Account
from runledger.embedded.errors import EmbeddedServerError
from runledger.embedded.trusted_directories import ensure_directory

PORT = 5432
"""Part of the name of the socket. Each server has a socket directory of its own, so one number serves all."""

# The kernel's limit for the path of a socket: 107 bytes on Linux, 103 on macOS.
_MAX_SOCKET_PATH_BYTES = 103
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def default_data_dir(name: str) -> Path:
    """Return the directory in which this user keeps the data of the server called ``name``.

    That is ``$XDG_DATA_HOME/runledger/<name>`` (``~/.local/share`` when unset), and for root
    ``/var/lib/runledger/<name>``: PostgreSQL runs as another account then, which must not need a way through
    root's home.

    Args:
        name: The name: letters, digits, dots, dashes and underscores.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidArgumentError(
            "name", "is not a plain file name", "use letters, digits, '.', '-' and '_', as in 'demo'"
        )
    if os.geteuid() == 0:
        return Path("/var/lib/runledger") / name
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    # A relative path is to be ignored, says the XDG specification.
    return (data_home if data_home.is_absolute() else Path.home() / ".local/share") / "runledger" / name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerLayout:
    """The files of one server, all derived from its data directory.

    ::

        <data_dir>/            owner only; as root the account of the server may pass through
            pgdata/            PostgreSQL's own data directory, owned by the account of the server
            socket/            owner only; elsewhere when the path is too long for a socket
            locks/             owner only; see `runledger.embedded.watcher`
            pg_hba.conf        who may connect
            pg_ident.conf
            server.log         of this run, and server.log.1 of the one before

    Attributes:
        data_dir: An absolute path without symbolic links.
    """

    data_dir: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory; it exists only when complete."""
        return self.data_dir / "pgdata"

    @property
    def unfinished_cluster(self) -> Path:
        """Where the data directory is made before it is renamed."""
        return self.data_dir / "pgdata.unfinished"

    @property
    def locks(self) -> Path:
        """Directory of the lock files."""
        return self.data_dir / "locks"

    @property
    def start_lock(self) -> Path:
        """Held while the server is made, started or stopped."""
        return self.locks / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Shared by the users of the server."""
        return self.locks / "users.lock"

    @property
    def watcher_lock(self) -> Path:
        """Held by the watcher for as long as it lives."""
        return self.locks / "watcher.lock"

    @property
    def hba_file(self) -> Path:
        """Which connections are accepted."""
        return self.data_dir / "pg_hba.conf"

    @property
    def ident_file(self) -> Path:
        """Which accounts of the operating system may connect."""
        return self.data_dir / "pg_ident.conf"

    @property
    def log_file(self) -> Path:
        """What the running server wrote."""
        return self.data_dir / "server.log"

    @property
    def previous_log_file(self) -> Path:
        """What the server wrote when it ran the last time."""
        return self.data_dir / "server.log.1"

    @property
    def socket_dir(self) -> Path:
        """Directory of the socket: beside the data, or below ``/tmp`` when that path cannot be an address."""
        beside = self.data_dir / "socket"
        # libpq reads a comma in a host as the start of the next host.
        if len(os.fsencode(_socket_in(beside))) <= _MAX_SOCKET_PATH_BYTES and "," not in str(beside):
            return beside
        # Nothing of the environment takes part: every process must find the same place.
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(f"/tmp/runledger-{os.geteuid()}/{digest}")  # noqa: S108 - ensure_directory refuses squatters

    @property
    def socket(self) -> Path:
        """The socket on which the server listens."""
        return _socket_in(self.socket_dir)

    def prepare(self, *, account: Account) -> None:
        """Make the directories, or verify those that exist; afterwards their content can be trusted.

        Args:
            account: The account that runs the server.

        Raises:
            EmbeddedServerError: A directory is not ours, holds something else, or cannot be created.
        """
        self._refuse_other_content()
        uid, gid = (-1, -1) if account.is_ours else (account.uid, account.gid)
        ensure_directory(self.data_dir, mode=0o700 if account.is_ours else 0o710, gid=gid)
        ensure_directory(self.locks, mode=0o700)
        ensure_directory(self.socket_dir, mode=0o700, uid=uid, gid=gid)

    def _refuse_other_content(self) -> None:
        # The directory is closed to others and filled by us, which a directory with other content would not
        # expect.
        try:
            entries = {entry.name for entry in self.data_dir.iterdir()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot use {self.data_dir} as a data directory: {error.strerror}",
                code="embedded.data_dir_unusable",
            ) from error
        if entries and self.locks.name not in entries:
            raise EmbeddedServerError(
                f"{self.data_dir} is not empty and holds no embedded server; choose another data directory",
                code="embedded.data_dir_unusable",
            )


def _socket_in(directory: Path) -> Path:
    return directory / f".s.PGSQL.{PORT}"
