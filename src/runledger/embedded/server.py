"""The embedded PostgreSQL server, shared by all processes of a user that name the same data directory."""

from __future__ import annotations

import subprocess
import weakref
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

from runledger.core.errors import InvalidArgumentError
from runledger.embedded import locks
from runledger.embedded.account import owner_account, server_account
from runledger.embedded.binaries import find_binaries, server_environment
from runledger.embedded.cluster import SUPERUSER
from runledger.embedded.errors import EmbeddedServerError
from runledger.embedded.layout import PORT, ServerLayout, default_data_dir
from runledger.embedded.starting import ensure_running

_MAX_DATABASE_NAME_BYTES = 63

# psql quotes :'name'. The lock keeps two processes from both creating it; CREATE DATABASE allows no
# transaction.
_ENSURE_DATABASE = """\
SELECT pg_advisory_lock(hashtextextended('runledger.ensure_database', 0));
SELECT format('CREATE DATABASE %I', :'name')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = :'name') \\gexec
"""


class EmbeddedServer:
    """A running PostgreSQL server that this process uses.

    Made by `start`; a context manager that closes itself. The server listens on a Unix socket only, and only
    the account that started it, and root, may connect. It stops shortly after its last user closed it or
    ended, in whatever way.

    A process that is forked while the server is open uses it as well: the server stays until parent and child
    have closed it or ended.
    """

    def __init__(self, *, layout: ServerLayout, users: BinaryIO) -> None:
        """Not for callers: use `start`."""
        self._layout = layout
        # Runs as well when the object is dropped and, last of those made since, at the end of the
        # interpreter.
        self._release = weakref.finalize(self, users.close)

    @classmethod
    def start(cls, data_dir: Path | None = None, *, durable: bool = True, timeout_seconds: float = 60.0) -> Self:
        """Use the server on ``data_dir``; start it and make its data directory if need be.

        Blocks for about a second the first time, for a tenth of one when the data exists, and for
        milliseconds when the server runs already. In a coroutine call it with ``asyncio.to_thread``.

        Args:
            data_dir: A directory for this server alone, missing or empty at first. As root it must be one
                that other accounts can reach. Default: ``default_data_dir("default")``.
            durable: Whether committed data survives a crash of the machine. Without, everything is faster,
                and such a crash may leave data that cannot be read: for tests.
            timeout_seconds: How long to wait for other processes that start or stop the server, and then for
                the server itself.

        Raises:
            EmbeddedServerError: The server cannot be started, or runs already but not as durable as asked
                for.
        """
        owner = owner_account()
        layout = ServerLayout(data_dir=(data_dir or default_data_dir("default")).resolve())
        account = server_account(owner, cluster=layout.cluster)
        layout.prepare(account=account)
        try:
            with locks.exclusive(layout.start_lock, timeout_seconds=timeout_seconds) as start_lock:
                # A user before it runs: otherwise the watcher could stop it at once.
                users = locks.share(layout.users_lock)
                try:
                    ensure_running(
                        layout,
                        owner=owner,
                        account=account,
                        durable=durable,
                        timeout_seconds=timeout_seconds,
                        start_lock=start_lock,
                    )
                except BaseException:
                    users.close()
                    raise
        except TimeoutError as error:
            raise EmbeddedServerError(
                f"another process has been starting or stopping the server in {layout.data_dir} for "
                f"{timeout_seconds:g} seconds; its log is {layout.log_file}",
                code="embedded.start_failed",
            ) from error
        return cls(layout=layout, users=users)

    @property
    def data_dir(self) -> Path:
        """The directory that holds everything of this server."""
        return self._layout.data_dir

    @property
    def log_file(self) -> Path:
        """What the server wrote since it was started."""
        return self._layout.log_file

    @property
    def url(self) -> str:
        """Address of the maintenance database ``postgres``, with the superuser's role."""
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        """Return the address of a database, whether it exists or not, with the superuser's role."""
        # With the port: a PGPORT in the environment would fill it in.
        host = quote(str(self._layout.socket_dir), safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def ensure_database(self, name: str) -> str:
        """Create the database unless it exists, and return its address.

        Any number of processes may do so at once.

        Raises:
            EmbeddedServerError: PostgreSQL refused; the message ends with what it said.
        """
        if not 1 <= len(name.encode()) <= _MAX_DATABASE_NAME_BYTES or "\0" in name:
            raise InvalidArgumentError(
                "name",
                "cannot be the name of a database",
                f"use 1 to {_MAX_DATABASE_NAME_BYTES} bytes, no NUL",
            )
        result = subprocess.run(
            [
                *(find_binaries().program("psql"), "--no-psqlrc", "--quiet"),
                *("--set=ON_ERROR_STOP=1", f"--set=name={name}", f"--dbname={self.url}"),
            ],
            input=_ENSURE_DATABASE.encode(),
            capture_output=True,
            check=False,
            env=server_environment(),
        )
        if result.returncode != 0:
            raise EmbeddedServerError(
                f"the database could not be created: {result.stderr.decode(errors='replace').strip()}",
                code="embedded.database_failed",
            )
        return self.url_for(name)

    def close(self) -> None:
        """Stop using the server. Harmless when repeated."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()
