"""The server that is measured: embedded, durable, its settings stated in the report."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

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
)
"""Settings that change the figures; each is PostgreSQL's default unless the embedded server says otherwise."""


@contextmanager
def measured_server() -> Generator[EmbeddedServer, None, None]:
    """Start a fresh durable server on the disk, next to the data of other embedded servers, and remove it."""
    parent = default_data_dir("benchmarks").parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="benchmarks-", ignore_cleanup_errors=True) as folder:
        # mkdtemp makes it private to this user; the server's own account must get through.
        Path(folder).chmod(0o755)
        with EmbeddedServer.start(Path(folder) / "server") as server:
            yield server


def read_settings(url: str) -> dict[str, str]:
    """Return the stated settings as the server has them."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(STATED_SETTINGS)]
        ).fetchall()
    return dict(rows)
