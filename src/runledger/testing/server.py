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

from runledger.embedded import Binaries, EmbeddedServer, EmbeddedServerError, find_binaries
from runledger.testing.containers import start_container
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

    admin_url: str
    is_own: bool
    embedded: EmbeddedServer | None = None


def database_server() -> DatabaseServer:
    """Return the server for this process; the first call may start it.

    In this order: the one that ``RUNLEDGER_TEST_ADMIN_DATABASE_URL`` names; the embedded one, shared by all
    test processes of this user; one in a container.

    Raises:
        EphemeralDatabaseError: There is none, or it lacks ``uuidv7()``.
    """
    with _FIRST_USE:
        if url := os.environ.get(_URL_VARIABLE):
            return _server_at(url)
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
def _server_at(url: str) -> DatabaseServer:
    _refuse_unsupported(url)
    return DatabaseServer(admin_url=url, is_own=False)


@functools.cache
def _server_of_this_process() -> DatabaseServer:
    try:
        binaries = find_binaries()
    except EmbeddedServerError as error:
        if error.code != "embedded.binaries_missing" or "RUNLEDGER_PG_BIN" in os.environ:
            raise
        server = DatabaseServer(admin_url=start_container(), is_own=False)
    else:
        embedded = EmbeddedServer.start(shared_data_dir(binaries), durable=False)
        server = DatabaseServer(admin_url=embedded.url, is_own=True, embedded=embedded)
    _refuse_unsupported(server.admin_url)
    if server.is_own:
        drop_leftovers(server.admin_url)
    return server


def _refuse_unsupported(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT to_regprocedure('pg_catalog.uuidv7()') IS NOT NULL").fetchone()
        if row != (True,):
            version = connection.info.parameter_status("server_version")
            raise EphemeralDatabaseError(
                f"the test server, PostgreSQL {version}, has no uuidv7(); Runledger needs PostgreSQL 18",
                code="testing.server_unsupported",
            )
