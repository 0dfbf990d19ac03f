"""A server whose clock can be moved.

PostgreSQL asks the system for the time, and the clock of the system is everybody's. So the functions by which
statements read it are covered: in one database ``clock_timestamp()``, ``statement_timestamp()`` and ``now()`` are found
in a schema ahead of ``pg_catalog``, where they add a shift that a table holds. Everything that Runledger reads of time
comes from there, defaults of columns included, since the database is migrated after it. Timers inside the server are
not moved.
"""

from __future__ import annotations

from datetime import timedelta
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from runledger import SyncLedger

_CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.setting (shift interval NOT NULL);
INSERT INTO clock.setting VALUES ('0');
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + shift FROM clock.setting';
CREATE FUNCTION clock.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.statement_timestamp() + shift FROM clock.setting';
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.now() + shift FROM clock.setting'
"""

_COVER = "ALTER DATABASE {name} SET search_path = clock, pg_catalog, public"


def make_movable_clock(url: str, *, tables: LiteralString) -> None:
    """Give an empty database a clock of its own, and then Runledger's tables and the application's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_CLOCK)
        connection.execute(SQL(_COVER).format(name=Identifier(connection.info.dbname)))
    with SyncLedger.connect(url) as ledger:
        ledger.migrate()
        with ledger.transaction() as connection:
            connection.execute(tables)


def move_clock(url: str, shift: timedelta) -> None:
    """Set how far the clock of the database is ahead of the system's; less than nothing is behind it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE clock.setting SET shift = %s", [shift])
