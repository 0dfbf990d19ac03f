"""psycopg 3: runners for its connections and pools, and Runledger's own connections."""

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger.postgres.drivers.psycopg.async_runner import run
from runledger.postgres.drivers.psycopg.sync_runner import run_sync

__all__ = ["AsyncConnection", "AsyncConnectionPool", "Connection", "ConnectionPool", "run", "run_sync"]
