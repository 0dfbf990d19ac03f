"""The SQL lock is current."""

import psycopg

from runledger.testing import EphemeralDatabase
from tools.sql_lock.lock import LOCK_PATH, describe_all, render


def test_the_lock_describes_the_files_as_postgresql_does(runledger_database: EphemeralDatabase) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        current = render(describe_all(connection))

    assert LOCK_PATH.read_text(encoding="utf-8") == current, "run `make sql-lock` and read the difference"
