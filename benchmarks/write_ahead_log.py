"""Bytes of write-ahead log per job."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import sql

from benchmarks.workload import drain, prepare, requests
from runledger import Database, SyncLedger


def measure_wal_bytes_per_job(url: str, count: int) -> float:
    """Return the WAL from first claim to last completion, divided by the jobs.

    Enqueue is not counted. Full-page images and autovacuum are off meanwhile: both depend on when the last checkpoint
    or vacuum was, not on the work.
    """
    with SyncLedger.connect(url) as ledger:
        prepare(ledger)
        ledger.enqueue_many(requests(count))
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            _set(connection, full_page_writes="off", autovacuum="off")
            before = _position(connection)
            asyncio.run(drain(Database(url), count))
            return (_position(connection) - before) / count
        finally:
            _set(connection, full_page_writes=None, autovacuum=None)


def _position(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    assert row is not None  # noqa: S101 (an expression has one row)
    return row[0]


def _set(connection: psycopg.Connection, **settings: str | None) -> None:
    for name, value in settings.items():
        if value is None:
            connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
        else:
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
    connection.execute("SELECT pg_reload_conf()")
    # The reload is a signal: wait until this session sees it.
    for name, value in settings.items():
        while value is not None and connection.execute("SELECT current_setting(%s)", [name]).fetchone() != (value,):
            pass
