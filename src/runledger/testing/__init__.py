"""What tests of an application need: a fresh, migrated database each, and environment variables with an end.

The fixtures are in `runledger.testing.pytest_plugin`.
"""

from runledger.testing.ephemeral import (
    EphemeralDatabase,
    create_ephemeral_database,
    setup_ephemeral_pool,
    teardown_ephemeral_pool,
)
from runledger.testing.errors import EphemeralDatabaseError
from runledger.testing.scoped_env import ScopedEnv
from runledger.testing.server import DatabaseServer, database_server

__all__ = [
    "DatabaseServer",
    "EphemeralDatabase",
    "EphemeralDatabaseError",
    "ScopedEnv",
    "create_ephemeral_database",
    "database_server",
    "setup_ephemeral_pool",
    "teardown_ephemeral_pool",
]
