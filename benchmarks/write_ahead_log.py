"""Bytes of write-ahead log per job."""

from __future__ import annotations

import asyncio

import psycopg

from benchmarks.server import change_settings, fresh_database
from benchmarks.workload import drain, enqueue
from runledger import Database
from runledger.embedded import EmbeddedServer


def measure_wal_bytes_per_job(server: EmbeddedServer, count: int) -> dict[str, float]:
    """Count the WAL from first claim to last completion, divided by the jobs.

    Enqueue is not counted. Full-page images and autovacuum are off meanwhile: both depend on when the last checkpoint
    or vacuum was, not on the work.
    """
    change_settings(server.url, {"full_page_writes": "off", "autovacuum": "off"})
    try:
        with fresh_database(server) as url:
            enqueue(url, count)
            with psycopg.connect(url, autocommit=True) as connection:
                before = _position(connection)
                asyncio.run(drain(Database(url), count))
                return {"wal_bytes_per_job": (_position(connection) - before) / count}
    finally:
        change_settings(server.url, {"full_page_writes": None, "autovacuum": None})


def _position(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    assert row is not None  # noqa: S101 (an expression has one row)
    return row[0]
