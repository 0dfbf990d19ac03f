"""A PostgreSQL of one test alone, which may be stopped, killed or given a full disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from runledger import SyncLedger
from runledger.embedded import EmbeddedServer
from tests.embedded.processes import Watched, await_stopped, postmaster_of

_DATABASE = "app"

# What the application writes: plain rows without any key, so that an effect that comes twice is there twice.
TABLES = """
CREATE TABLE public.effect (
    job_id uuid NOT NULL, run_number integer NOT NULL, attempt integer NOT NULL, worker_id text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now())
"""


class OutageServer:
    """A durable server: a stop in the middle of everything loses nothing that was committed.

    Attributes:
        url: Address of its database, migrated and with the table ``effect``. It stays the same over restarts.
    """

    def __init__(self, data_dir: Path) -> None:
        """Not for callers: use `outage_server`."""
        self._data_dir = data_dir
        self._server = EmbeddedServer.start(data_dir)
        self.url = self._server.url_for(_DATABASE)

    def ensure_database(self, name: str) -> str:
        """Create another, empty database unless it exists, and return its address."""
        return self._server.ensure_database(name)

    def start(self) -> None:
        """Start it again and return when it accepts connections."""
        self._server = EmbeddedServer.start(self._data_dir)

    def stop_immediately(self) -> None:
        """Stop it as ``pg_ctl stop -m immediate`` does: no session is asked, and the next start is a recovery."""
        os.kill(postmaster_of(self._data_dir), signal.SIGQUIT)
        self.await_end()

    def restart(self) -> None:
        """Start it again, whether it has ended by itself, is about to, or not."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(postmaster_of(self._data_dir), signal.SIGQUIT)
        self.await_end()
        self.start()

    def await_end(self) -> None:
        """Wait until it has ended, by itself or by somebody's hand."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), Watched(postmaster_of(self._data_dir)) as one:
            one.await_end()
        # Our handle would not keep it from ending, and is of no use for the next one.
        self._server.close()
        await_stopped(self._data_dir)

    def log(self) -> str:
        """What the server wrote since it was started."""
        return self._server.log_file.read_text()

    def close(self) -> None:
        """Stop using it, and wait until it has ended."""
        self._server.close()
        await_stopped(self._data_dir)


@contextlib.contextmanager
def made_data_dir() -> Generator[Path]:
    """Make the data directory of which each server's is a copy."""
    with _public_folder() as folder:
        data_dir = folder / "made"
        with EmbeddedServer.start(data_dir) as server:
            url = server.ensure_database(_DATABASE)
            with SyncLedger.connect(url) as ledger:
                ledger.migrate()
                with ledger.transaction() as connection:
                    connection.execute(TABLES)
        await_stopped(data_dir)
        yield data_dir


@contextlib.contextmanager
def outage_server(made: Path, *, below: Path | None = None) -> Generator[OutageServer]:
    """Start a server on a copy of a data directory.

    Args:
        made: See `made_data_dir`.
        below: Where to put the copy; in memory when not given.
    """
    with contextlib.nullcontext(below) if below is not None else _public_folder() as folder:
        data_dir = folder / "server"
        # With owners and modes, which shutil does not copy.
        subprocess.run(["/bin/cp", "-a", made, data_dir], check=True)
        server = OutageServer(data_dir)
        try:
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def _public_folder() -> Generator[Path]:
    """A folder that the account of the server can enter, in memory where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="runledger-outages-", dir=memory if memory.is_dir() else "/tmp"))  # noqa: S108
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
