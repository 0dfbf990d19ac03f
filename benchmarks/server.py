"""The server that is measured: embedded, durable, its settings stated in the report."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from runledger.embedded import EmbeddedServer, default_data_dir

STATED_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "autovacuum",
    "random_page_cost",
    "shared_preload_libraries",
)
"""Settings that change the figures; each is PostgreSQL's default unless the embedded server says otherwise."""

_DATABASE = "measured"
_LIBRARY = "pg_stat_statements"


@contextmanager
def measured_server(*, durable: bool = True) -> Generator[EmbeddedServer, None, None]:
    """Start a fresh server on the disk, next to the data of other embedded servers, and remove it.

    ``pg_stat_statements`` is loaded, and counts nothing until it is told to.

    Args:
        durable: As an application has it. Without, figures say nothing: for tests of the benchmarks.
    """
    parent = default_data_dir("benchmarks").parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="benchmarks-", ignore_cleanup_errors=True) as folder:
        # mkdtemp makes it private to this user; the server's own account must get through.
        Path(folder).chmod(0o755)
        data_dir = Path(folder) / "server"
        with EmbeddedServer.start(data_dir, durable=durable) as server:
            change_settings(server.url, {f"{_LIBRARY}.track": "none", "shared_preload_libraries": _LIBRARY})
        with _started_again(data_dir, durable=durable) as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"CREATE EXTENSION {_LIBRARY}")
            yield server


@contextmanager
def fresh_database(server: EmbeddedServer) -> Generator[str, None, None]:
    """Create the database of one measurement, yield its address, and drop it.

    What is dropped needs no more vacuuming, which would disturb the measurements that follow.
    """
    yield server.ensure_database(_DATABASE)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_DATABASE)))


def change_settings(url: str, settings: dict[str, str | None]) -> None:
    """Change settings of the whole server; ``None`` resets one. A restart, if they need one, is the caller's task."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            parameter = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
            if value is None:
                connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(parameter))
            else:
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(parameter, value))
        connection.execute("SELECT pg_reload_conf()")
        # The reload is a signal: wait until this session sees it.
        for name, value in settings.items():
            while value is not None and not _has(connection, name, value):
                pass


def read_settings(url: str) -> dict[str, str]:
    """Return the stated settings as the server has them."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(STATED_SETTINGS)]
        ).fetchall()
    return dict(rows)


@contextmanager
def _started_again(data_dir: Path, *, durable: bool) -> Generator[EmbeddedServer, None, None]:
    """Use the server once it has the settings that need a restart: one just left may still be the old one."""
    while True:
        with EmbeddedServer.start(data_dir, durable=durable) as server:
            if read_settings(server.url)["shared_preload_libraries"] == _LIBRARY:
                yield server
                return


def _has(connection: psycopg.Connection, name: str, value: str) -> bool:
    """Whether this session sees the setting, or the server says that it needs a restart."""
    row = connection.execute(
        "SELECT setting = %s OR pending_restart FROM pg_settings WHERE name = %s", [value, name]
    ).fetchone()
    return row is None or row[0]
