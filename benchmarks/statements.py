"""Statements that the server was sent, and what they cost it, by ``pg_stat_statements``."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

import psycopg

from benchmarks.server import change_settings
from runledger.embedded import EmbeddedServer

_TRACK = "pg_stat_statements.track"

_COUNT = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
 WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_READ_COSTS = """
SELECT query, sum(calls)::bigint, sum(total_exec_time), sum(rows)::bigint, sum(wal_bytes)::bigint
  FROM pg_stat_statements
 WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = current_database())
   AND query !~ '^\\s*(CREATE|ALTER|DROP) '
 GROUP BY query
"""

# Comments, which are not sent; constants and parameters, for which the server puts its own; the name of the schema.
_NOT_COMPARED = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\$\d+|\b(?:\d+|NULL|true|false|runledger)\b|\{schema\}")
_WORD = re.compile(r"\w+")
_ALIKE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementCost:
    """What all calls of a statement cost together.

    Attributes:
        name: Its SQL file below ``postgres/sql``, or the beginning of its text.
        calls: How often it ran.
        milliseconds: Execution in the server.
        rows: Rows that it returned or changed.
        wal_bytes: What it wrote to the write-ahead log.
    """

    name: str
    calls: int
    milliseconds: float
    rows: int
    wal_bytes: int


@contextmanager
def counted_statements(server: EmbeddedServer) -> Generator[Callable[[], int], None, None]:
    """Count statements from here on; yield what tells how many there were in other databases than its own."""
    with _tracking(server) as connection:

        def count() -> int:
            row = connection.execute(_COUNT).fetchone()
            assert row is not None  # noqa: S101 (an aggregate has one row)
            return row[0]

        yield count


@contextmanager
def costs_of_statements(server: EmbeddedServer) -> Generator[Callable[[], list[StatementCost]], None, None]:
    """Add up costs from here on, those of schemas aside; yield what tells them, the dearest first."""
    with _tracking(server) as connection:
        connection.execute("SELECT pg_stat_statements_reset()")

        def costs() -> list[StatementCost]:
            sources = _words_of_files()
            by_name: dict[str, StatementCost] = {}
            for text, calls, milliseconds, rows, wal_bytes in connection.execute(_READ_COSTS).fetchall():
                name = _most_alike(_words(text), sources) or " ".join(text.split())[:60]
                known = by_name.get(name, StatementCost(name=name, calls=0, milliseconds=0, rows=0, wal_bytes=0))
                by_name[name] = StatementCost(
                    name=name,
                    calls=known.calls + calls,
                    milliseconds=known.milliseconds + milliseconds,
                    rows=known.rows + rows,
                    wal_bytes=known.wal_bytes + wal_bytes,
                )
            return sorted(by_name.values(), key=lambda cost: -cost.milliseconds)

        yield costs


@contextmanager
def _tracking(server: EmbeddedServer) -> Generator[psycopg.Connection, None, None]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        before = _current(connection)
        change_settings(server.url, {_TRACK: "top"})
        try:
            yield connection
        finally:
            change_settings(server.url, {_TRACK: before})


def _current(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT current_setting(%s)", [_TRACK]).fetchone()
    assert row is not None  # noqa: S101 (an expression has one row)
    return row[0]


def _most_alike(words: frozenset[str], sources: dict[str, frozenset[str]]) -> str | None:
    """Return the file that has nearly the same words: a statement that is put together from parts varies a little."""
    share, name = max((len(words & others) / len(words | others), name) for name, others in sources.items())
    return name if share > _ALIKE else None


def _words_of_files() -> dict[str, frozenset[str]]:
    return {
        f"{area.name}/{file.name}": _words(file.read_text(encoding="utf-8"))
        for area in files("runledger.postgres").joinpath("sql").iterdir()
        if area.is_dir()
        for file in area.iterdir()
    }


def _words(text: str) -> frozenset[str]:
    """Return the words of a statement without what the server may have replaced by parameters."""
    return frozenset(_WORD.findall(_NOT_COMPARED.sub(" ", text)))
