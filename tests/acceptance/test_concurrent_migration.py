"""Many processes of an application that start at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from runledger.postgres import MIGRATOR
from runledger.testing import DatabaseServer
from runledger.testing.database_name import with_database

PROCESSES = 10
TIMEOUT_SECONDS = 60

# Says that it is connected, and migrates when it is told to.
PROGRAM = """
import json, sys
from runledger import SyncLedger
with SyncLedger.connect(sys.argv[1]) as ledger:
    print("connected", flush=True)
    sys.stdin.readline()
    print(json.dumps(ledger.migrate()), flush=True)
"""


@pytest.fixture
def empty_database(runledger_server: DatabaseServer) -> Iterator[str]:
    """The address of a database in which nothing is."""
    name = Identifier(f"unmigrated_{os.getpid()}")
    with psycopg.connect(runledger_server.admin_url, autocommit=True) as admin:
        admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        yield with_database(runledger_server.admin_url, f"unmigrated_{os.getpid()}")
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_ten_processes_that_migrate_at_once_migrate_once(empty_database: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, empty_database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        applied = [json.loads(process.communicate(timeout=TIMEOUT_SECONDS)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()

    assert sorted(applied) == [[]] * (PROCESSES - 1) + [list(MIGRATOR.versions)]
    with psycopg.connect(empty_database) as connection:
        recorded = connection.execute("SELECT count(*) FROM runledger.runledger_migrations").fetchone()
    assert recorded == (len(MIGRATOR.versions),)
