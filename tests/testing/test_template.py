"""The template, on a server of its own: that of the test run is in use by other tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from runledger.embedded import EmbeddedServer
from runledger.embedded.layout import ServerLayout
from runledger.embedded.locks import exclusive
from runledger.postgres.migrator import MIGRATOR
from runledger.testing import DatabaseServer, ScopedEnv, create_ephemeral_database
from runledger.testing.template import drop_old_templates, ensure_template

TEMPLATE = f"runledger_template_{MIGRATOR.checksum[:16]}"


@pytest.fixture(scope="module")
def server() -> Iterator[DatabaseServer]:
    memory = Path("/dev/shm")  # noqa: S108
    parent = Path(tempfile.mkdtemp(prefix="runledger-tests-", dir=memory if memory.is_dir() else "/tmp"))  # noqa: S108
    parent.chmod(0o711)
    with EmbeddedServer.start(parent / "data", durable=False) as embedded:
        yield DatabaseServer(admin_url=embedded.url, is_own=False, embedded=embedded)
    with exclusive(ServerLayout(data_dir=embedded.data_dir).watcher_lock, timeout_seconds=20):
        shutil.rmtree(parent)


@pytest.fixture
def admin(server: DatabaseServer) -> Iterator[Connection[TupleRow]]:
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        for name in templates(connection):
            connection.execute(SQL("DROP DATABASE {}").format(Identifier(name)))
        yield connection


def templates(admin: Connection[TupleRow]) -> list[str]:
    rows = admin.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, 'runledger_template_') ORDER BY datname"
    )
    return [name for (name,) in rows]


def test_template_is_made_once_by_many_at_the_same_time(server: DatabaseServer, admin: Connection[TupleRow]) -> None:
    with (
        ScopedEnv.set([("RUNLEDGER_TEST_ADMIN_DATABASE_URL", server.admin_url)]),
        ThreadPoolExecutor(4) as threads,
    ):
        databases = list(threads.map(create_ephemeral_database, ["many"] * 8))
    assert len({database.name for database in databases}) == 8
    for database in databases:
        with psycopg.connect(database.url) as connection:
            row = connection.execute("SELECT count(*) FROM runledger.runledger_migrations").fetchone()
            assert row == (len(MIGRATOR.versions),)
        database.drop()
    assert templates(admin) == [TEMPLATE]


def test_half_made_template_is_made_anew(server: DatabaseServer, admin: Connection[TupleRow]) -> None:
    admin.execute(SQL("CREATE DATABASE {}").format(Identifier(f"{TEMPLATE}_unfinished")))
    assert ensure_template(admin, server) == TEMPLATE
    assert templates(admin) == [TEMPLATE]


def test_template_accepts_no_connections(server: DatabaseServer, admin: Connection[TupleRow]) -> None:
    assert server.embedded is not None
    ensure_template(admin, server)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(server.embedded.url_for(TEMPLATE))


def test_only_the_newest_templates_are_kept(admin: Connection[TupleRow]) -> None:
    names = [f"runledger_template_{number}" for number in range(6)]
    for name in names:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    drop_old_templates(admin)
    assert templates(admin) == names[-4:]
