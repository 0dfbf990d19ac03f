"""The six ways to run an operation with psycopg, behind one signature."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.postgres import DEFAULT_SCHEMA, Database, Operation, run, run_sync

T = TypeVar("T")


class Target(StrEnum):
    """What an operation runs on. Pools and own connections give it a transaction, the others are in one."""

    ASYNC_POOL = "async pool"
    SYNC_POOL = "sync pool"
    ASYNC_OWN = "async own connection"
    SYNC_OWN = "sync own connection"
    ASYNC_TRANSACTION = "async transaction"
    SYNC_TRANSACTION = "sync transaction"

    async def run(self, url: str, operation: Operation[T], *, schema: str = DEFAULT_SCHEMA) -> T:
        """Run an operation; a transaction of the caller's commits after it."""
        match self:
            case Target.ASYNC_POOL:
                async with AsyncConnectionPool(url, min_size=1, open=False) as pool:
                    return await run(pool, operation, schema=schema)
            case Target.SYNC_POOL:
                with ConnectionPool(url, min_size=1, open=False) as pool:
                    return run_sync(pool, operation, schema=schema)
            case Target.ASYNC_OWN:
                async with Database(url, schema=schema).own_connection() as connection:
                    return await connection.run(operation)
            case Target.SYNC_OWN:
                with Database(url, schema=schema).own_sync_connection() as connection:
                    return connection.run(operation)
            case Target.ASYNC_TRANSACTION:
                async with await psycopg.AsyncConnection.connect(url) as connection:
                    return await run(connection, operation, schema=schema)
            case Target.SYNC_TRANSACTION:
                with psycopg.connect(url) as connection:
                    return run_sync(connection, operation, schema=schema)
