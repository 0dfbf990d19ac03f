"""Removing the databases of test runs that were killed."""

from __future__ import annotations

import contextlib
import os

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from runledger.testing.database_name import maker_of


def drop_leftovers(admin: Connection[TupleRow]) -> None:
    """Drop the databases whose makers have ended; for a server that only tests of this machine use.

    Args:
        admin: An autocommit connection to the maintenance database.
    """
    for (name,) in admin.execute("SELECT datname FROM pg_database").fetchall():
        maker = maker_of(name)
        if maker is None or _is_alive(maker):
            continue
        # Without FORCE: a container that shares the directory counts its processes on its own, so that a
        # maker seems dead which is not. While it is connected this fails, as it does when another process
        # is faster.
        with contextlib.suppress(psycopg.Error):
            admin.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
