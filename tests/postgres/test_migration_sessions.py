"""Migrating in sessions with settings of their own: it works, or is refused before anything was done."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from runledger.postgres import (
    MIGRATOR,
    DatabaseConnectionError,
    QueryError,
    QueryErrorCategory,
    ensure_schema_compatible_after_idempotency_cutover,
    migrate_after_idempotency_cutover,
    run,
    run_sync,
)
from runledger.testing import EphemeralDatabase
from tests.postgres.drivers.psycopg.targets import Target

VERSIONS = list(MIGRATOR.versions)
MIGRATE, ENSURE = migrate_after_idempotency_cutover(), ensure_schema_compatible_after_idempotency_cutover()


@pytest.fixture
def empty_url(runledger_database: EphemeralDatabase) -> str:
    """The address of a database that was never migrated."""
    with psycopg.connect(runledger_database.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA runledger CASCADE")
    return runledger_database.url


def schema_exists(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT to_regnamespace('runledger') IS NOT NULL").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    "settings",
    [
        "-c search_path=",
        "-c search_path=public,pg_catalog",
        "-c default_transaction_isolation=read\\ uncommitted",
        "-c default_transaction_deferrable=on",
        "-c check_function_bodies=off",
        "-c standard_conforming_strings=off",
        "-c client_encoding=LATIN1",
        "-c quote_all_identifiers=on -c DateStyle=SQL,DMY -c TimeZone=Asia/Kathmandu -c IntervalStyle=sql_standard",
        "-c transform_null_equals=on -c array_nulls=off -c row_security=off",
        "-c session_replication_role=replica",
        "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=on",
        "-c synchronous_commit=off -c lock_timeout=1s",
    ],
)
def test_settings_that_do_not_matter(empty_url: str, settings: str) -> None:
    with psycopg.connect(empty_url, options=settings) as connection:
        assert run_sync(connection, MIGRATE) == VERSIONS
        assert run_sync(connection, MIGRATE) == []
        assert run_sync(connection, ENSURE) == []


@pytest.mark.parametrize("target", [Target.ASYNC_POOL, Target.SYNC_POOL, Target.ASYNC_TRANSACTION])
@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("default_transaction_isolation = 'repeatable read'", "not READ COMMITTED; set default_transaction_isolation"),
        ("default_transaction_isolation = 'serializable'", "not READ COMMITTED"),
        ("default_transaction_read_only = on", "read-only; use the primary server"),
    ],
)
async def test_a_transaction_that_cannot_migrate_is_refused(
    empty_url: str, target: Target, setting: str, reason: str
) -> None:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT quote_ident(current_database())").fetchone() or ("",)
        connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())

    with pytest.raises(QueryError, match=reason) as caught:
        await target.run(empty_url, MIGRATE)

    assert caught.value.code == "schema.migration_session_unsuitable"
    assert caught.value.category is QueryErrorCategory.VALIDATION
    assert not schema_exists(empty_url)


def test_a_caller_who_began_at_repeatable_read_keeps_a_usable_transaction(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(QueryError, match="READ COMMITTED"):
            run_sync(connection, MIGRATE)

        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_name_that_the_encoding_of_the_session_would_garble_is_refused(empty_url: str) -> None:
    with psycopg.connect(empty_url, client_encoding="LATIN1") as connection:
        with pytest.raises(QueryError, match="client_encoding") as caught:
            run_sync(connection, MIGRATE, schema="schéma")
        connection.commit()

        assert caught.value.code == "schema.migration_session_unsuitable"
        names = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'sch%ma'").fetchone()
    assert names == (0,)


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
async def test_a_session_that_may_not_wait_is_told_that_another_process_migrates(empty_url: str, setting: str) -> None:
    with psycopg.connect(empty_url) as other:
        run_sync(other, MIGRATE)

        async with AsyncConnectionPool(
            empty_url, min_size=1, open=False, kwargs={"options": f"-c {setting}=100ms"}
        ) as pool:
            with pytest.raises(QueryError, match="another process migrates this schema") as caught:
                await run(pool, MIGRATE)

        assert caught.value.code == "schema.migration_lock_timeout"
        assert caught.value.category is QueryErrorCategory.CONFLICT
        other.rollback()


def test_a_caller_may_roll_back_all_of_it(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        assert run_sync(connection, MIGRATE) == VERSIONS
        connection.rollback()

    assert not schema_exists(empty_url)


def test_a_role_without_rights_is_told_and_changes_nothing(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE ROLE plain_nobody")
        connection.execute("SET ROLE plain_nobody")
        with pytest.raises(QueryError) as caught:
            run_sync(connection, MIGRATE)
        connection.rollback()

    assert caught.value.code == "db.permission_denied"


async def test_a_connection_that_ends_while_it_migrates_leaves_nothing(empty_url: str) -> None:
    """The lock ends with its transaction, so the next starter is not held up."""
    connection: psycopg.Connection[Any] = psycopg.connect(empty_url)
    run_sync(connection, MIGRATE)
    with psycopg.connect(empty_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
    with pytest.raises(DatabaseConnectionError):
        run_sync(connection, MIGRATE)
    connection.close()

    assert not schema_exists(empty_url)
    assert await Target.ASYNC_POOL.run(empty_url, MIGRATE) == VERSIONS
