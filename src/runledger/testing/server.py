"""The server on which the databases of tests are made."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from runledger.core.errors import InvalidArgumentError
from runledger.embedded import Binaries, EmbeddedServer, EmbeddedServerError, find_binaries
from runledger.postgres import Database, DatabaseConnectionError
from runledger.testing.containers import start_container
from runledger.testing.database_name import with_database
from runledger.testing.errors import EphemeralDatabaseError
from runledger.testing.leftovers import drop_leftovers

_URL_VARIABLE = "RUNLEDGER_TEST_ADMIN_DATABASE_URL"
_MEMORY = Path("/dev/shm")  # noqa: S108 - the embedded server refuses directories of other users
_NEEDED_IN_MEMORY = 1 << 30
_FIRST_USE = threading.Lock()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseServer:
    """A PostgreSQL server that may create databases.

    Attributes:
        admin_url: Address of a maintenance database, with a role that may create databases.
        is_own: Whether nothing but tests of this user on this machine uses it, so that what killed test runs
            left behind may be removed.
        embedded: The running server, when it is ours to keep running.
    """

    # Not in the repr: it may hold a password, and pytest prints the fixtures of a test that fails.
    admin_url: str = dataclasses.field(repr=False)
    is_own: bool
    embedded: EmbeddedServer | None = None

    def connect(self, database: str | None = None) -> Connection[TupleRow]:
        """Open an autocommit connection to a database of the server; without a name, to the maintenance database.

        Raises:
            EphemeralDatabaseError: The server refuses or has gone. Neither its text nor its traceback has the URL.
        """
        # No variable holds the URL, and the error is raised where psycopg's frames have gone: pytest prints the
        # arguments of each frame, and its --showlocals the variables.
        try:
            return psycopg.connect(
                self.admin_url if database is None else with_database(self.admin_url, database), autocommit=True
            )
        except psycopg.Error:
            pass
        raise EphemeralDatabaseError(
            f"the test server at {Database(self.admin_url).description} refuses a connection or has gone",
            code="testing.server_unavailable",
        )


def database_server() -> DatabaseServer:
    """Return the server for this process; the first call may start it.

    In this order: the one that ``RUNLEDGER_TEST_ADMIN_DATABASE_URL`` names; the embedded one, shared by all
    test processes of this user; one in a container.

    Raises:
        EphemeralDatabaseError: There is none, it cannot be reached, or it lacks ``uuidv7()``.
    """
    with _FIRST_USE:
        if os.environ.get(_URL_VARIABLE):
            return _usable(DatabaseServer(admin_url=os.environ[_URL_VARIABLE], is_own=False))
        return _server_of_this_process()


def shared_data_dir(binaries: Binaries) -> Path:
    """Return where all test processes of this user keep their server: in memory where that has room."""
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _NEEDED_IN_MEMORY
    parent = _MEMORY if in_memory else Path(tempfile.gettempdir())
    # One directory per major version, because another one cannot read it: "postgres (PostgreSQL) 18.6".
    program = [binaries.program("postgres"), "--version"]
    version = subprocess.run(program, capture_output=True, check=True, text=True).stdout
    major = version.split()[2].partition(".")[0]
    return parent / f"runledger-{os.geteuid()}" / f"test-{major}"


@functools.cache
def _usable(server: DatabaseServer) -> DatabaseServer:
    _refuse_unusable(server, name=_URL_VARIABLE)
    return server


@functools.cache
def _server_of_this_process() -> DatabaseServer:
    try:
        binaries = find_binaries()
    except EmbeddedServerError as error:
        if error.code != "embedded.binaries_missing" or "RUNLEDGER_PG_BIN" in os.environ:
            raise
        server = DatabaseServer(admin_url=start_container(), is_own=False)
        name = "the container"
    else:
        embedded = EmbeddedServer.start(shared_data_dir(binaries), durable=False)
        server = DatabaseServer(admin_url=embedded.url, is_own=True, embedded=embedded)
        name = "the embedded server"
    _refuse_unusable(server, name=name)
    if server.is_own:
        with server.connect() as admin:
            drop_leftovers(admin)
    return server


def _refuse_unusable(server: DatabaseServer, *, name: str) -> None:
    try:
        # By the library's own way in: its errors tell a URL that is none from a server that does not answer.
        with Database(server.admin_url).open_sync_pool(min_size=0, max_size=1) as pool, pool.connection() as connection:
            row = connection.execute("SELECT to_regprocedure('pg_catalog.uuidv7()') IS NOT NULL").fetchone()
            version = connection.info.parameter_status("server_version")
    except InvalidArgumentError as error:
        problem = f"{name}: {error.problem}; {error.remedy}"
    except DatabaseConnectionError as error:
        problem = f"{name}: {error}"
    else:
        if row == (True,):
            return
        raise EphemeralDatabaseError(
            f"the test server, PostgreSQL {version}, has no uuidv7(); Runledger needs PostgreSQL 18",
            code="testing.server_unsupported",
        )
    # Raised here for the reason in `DatabaseServer.connect`.
    raise EphemeralDatabaseError(problem, code="testing.server_unavailable")
