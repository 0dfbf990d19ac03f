"""The migrated database of which every database for a test is a copy."""

from __future__ import annotations

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from runledger.postgres.drivers.psycopg import run_sync
from runledger.postgres.migrator import MIGRATOR
from runledger.postgres.schema_migration import migrate_after_idempotency_cutover
from runledger.testing.server import DatabaseServer

_PREFIX = "runledger_template_"
_UNFINISHED = "_unfinished"
_KEPT_TEMPLATES = 5
# Any fixed number will do; it is taken in the maintenance database, where nothing of Runledger's is locked.
_LOCK_KEY = 7_308_044_127_190_625_651


def ensure_template(admin: Connection[TupleRow], server: DatabaseServer) -> str:
    """Return the name of the template for the bundled migrations, made when it does not exist.

    Its name contains their checksum, so an edited migration leads to another template. Any number of
    processes may call this at once: one makes it.

    Args:
        admin: An autocommit connection to the maintenance database.
        server: The server of that connection.
    """
    name = f"{_PREFIX}{MIGRATOR.checksum[:16]}"
    if _exists(admin, name):
        return name
    # After an error it ends with the connection.
    admin.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
    if not _exists(admin, name):
        if server.is_own:
            drop_old_templates(admin)
        _make(admin, server, name)
    admin.execute("SELECT pg_advisory_unlock(%s)", [_LOCK_KEY])
    return name


def drop_old_templates(admin: Connection[TupleRow]) -> None:
    """Make room for another template: keep only the newest.

    Several are kept, because other checkouts with other migrations share the server.
    """
    old = admin.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid DESC OFFSET %s",
        [_PREFIX, _KEPT_TEMPLATES - 1],
    ).fetchall()
    for (name,) in old:
        admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def _make(admin: Connection[TupleRow], server: DatabaseServer, name: str) -> None:
    # It gets its name when it is complete; what a killed process left is dropped here.
    unfinished = Identifier(name + _UNFINISHED)
    admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(unfinished))
    admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(unfinished))
    with server.connect(name + _UNFINISHED) as connection, connection.transaction():
        run_sync(connection, migrate_after_idempotency_cutover())
    # Without connections: CREATE DATABASE fails while somebody is connected to its template.
    admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(unfinished))
    admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(unfinished, Identifier(name)))


def _exists(admin: Connection[TupleRow], name: str) -> bool:
    return admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None
