from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from runledger.postgres.migrator import MIGRATOR
from runledger.testing import (
    DatabaseServer,
    EphemeralDatabase,
    create_ephemeral_database,
    setup_ephemeral_pool,
    teardown_ephemeral_pool,
)
from runledger.testing.database_name import with_database
from runledger.testing.leftovers import drop_leftovers


def exists(server: DatabaseServer, name: str) -> bool:
    with psycopg.connect(server.admin_url) as admin:
        return admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )


async def test_two_pools_have_databases_of_their_own() -> None:
    """TST-001."""
    (pool, first), (other_pool, second) = await asyncio.gather(
        setup_ephemeral_pool("isolated", 2), setup_ephemeral_pool("isolated", 2)
    )
    try:
        assert first.name != second.name
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE only_here (x int)")
        async with other_pool.connection() as connection:
            cursor = await connection.execute("SELECT to_regclass('only_here')")
            assert await cursor.fetchone() == (None,)
    finally:
        await teardown_ephemeral_pool(pool, first)
        await teardown_ephemeral_pool(other_pool, second)


async def test_pool_has_the_migrated_schema_and_its_limit() -> None:
    pool, database = await setup_ephemeral_pool("Migrated 1", 3)
    try:
        assert pool.max_size == 3
        assert database.name.startswith(f"migrated_1_{os.getpid()}_")
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT version FROM runledger.runledger_migrations ORDER BY version")
            assert [version async for (version,) in cursor] == list(MIGRATOR.versions)
    finally:
        await teardown_ephemeral_pool(pool, database)


async def test_teardown_drops_the_database_with_open_connections(runledger_server: DatabaseServer) -> None:
    """TST-003."""
    pool, database = await setup_ephemeral_pool("busy", 2)
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as stranger:
        await teardown_ephemeral_pool(pool, database)
        assert not exists(runledger_server, database.name)
        with pytest.raises(psycopg.OperationalError):
            await stranger.execute("SELECT 1")


async def test_teardown_after_the_pool_was_closed_drops_the_database(runledger_server: DatabaseServer) -> None:
    pool, database = await setup_ephemeral_pool("closed", 2)
    await pool.close()
    await teardown_ephemeral_pool(pool, database)
    await teardown_ephemeral_pool(pool, database)
    assert not exists(runledger_server, database.name)


async def test_pool_that_cannot_be_opened_leaves_no_database(runledger_server: DatabaseServer) -> None:
    with pytest.raises(ValueError, match="max_size"):
        await setup_ephemeral_pool("without_connections", 0)
    with psycopg.connect(runledger_server.admin_url) as admin:
        left = admin.execute(
            "SELECT FROM pg_database WHERE starts_with(datname, %s)", [f"without_connections_{os.getpid()}_"]
        )
        assert left.fetchone() is None


def test_forgotten_handle_drops_its_database(runledger_server: DatabaseServer) -> None:
    name = create_ephemeral_database("forgotten").name
    gc.collect()
    assert not exists(runledger_server, name)


def test_end_of_the_process_drops_what_it_forgot(runledger_server: DatabaseServer) -> None:
    script = (
        "from runledger.testing import create_ephemeral_database as create\n"
        "database = create('at_exit'); print(database.name)"
    )
    assert not exists(runledger_server, run_python(script).stdout.strip())


def test_end_of_a_forked_child_leaves_the_database_of_its_parent() -> None:
    script = (
        "import os, sys, psycopg\n"
        "from runledger.testing import create_ephemeral_database as create\n"
        "database = create('forked')\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "psycopg.connect(database.url).close()\n"
        "database.drop()"
    )
    run_python(script)


def test_databases_of_dead_processes_are_swept_and_others_kept(runledger_server: DatabaseServer) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    dead = f"killed_{process.pid}_1"
    mine = create_ephemeral_database("kept")
    with psycopg.connect(runledger_server.admin_url, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(dead)))
        drop_leftovers(admin)
    assert not exists(runledger_server, dead)
    assert exists(runledger_server, mine.name)


def test_name_that_is_taken_is_skipped(runledger_server: DatabaseServer) -> None:
    first = create_ephemeral_database("taken")
    stem, _, number = first.name.rpartition("_")
    with psycopg.connect(runledger_server.admin_url, autocommit=True) as admin:
        # The numbers are shared with concurrent fixtures of this process, of which there are none within a test.
        taken = f"{stem}_{int(number) + 1}"
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(taken)))
        try:
            assert create_ephemeral_database("taken").name == f"{stem}_{int(number) + 2}"
        finally:
            admin.execute(SQL("DROP DATABASE {}").format(Identifier(taken)))


def test_fixture_gives_a_migrated_database_named_after_the_test(
    runledger_database: EphemeralDatabase, runledger_server: DatabaseServer
) -> None:
    assert runledger_database.name.startswith("test_fixture_gives_a_mig_")
    assert runledger_database.url == with_database(runledger_server.admin_url, runledger_database.name)
    with psycopg.connect(runledger_database.url) as connection:
        assert connection.execute("SELECT count(*) FROM runledger.job_queue").fetchone() == (0,)
