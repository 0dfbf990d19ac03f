"""What tests of an application need: a fresh, migrated database each, its jobs carried out, variables with an end.

The fixtures are in `runledger.testing.pytest_plugin`.
"""

from runledger.testing.due_jobs import make_jobs_due, run_due_jobs
from runledger.testing.ephemeral import (
    EphemeralDatabase,
    create_ephemeral_database,
    setup_ephemeral_pool,
    teardown_ephemeral_pool,
)
from runledger.testing.errors import EndlessJobsError, EphemeralDatabaseError
from runledger.testing.job_context import (
    HandlerRecord,
    RecordedLine,
    RecordingAsyncContext,
    RecordingThreadContext,
)
from runledger.testing.scoped_env import ScopedEnv
from runledger.testing.server import DatabaseServer, database_server

__all__ = [
    "DatabaseServer",
    "EndlessJobsError",
    "EphemeralDatabase",
    "EphemeralDatabaseError",
    "HandlerRecord",
    "RecordedLine",
    "RecordingAsyncContext",
    "RecordingThreadContext",
    "ScopedEnv",
    "create_ephemeral_database",
    "database_server",
    "make_jobs_due",
    "run_due_jobs",
    "setup_ephemeral_pool",
    "teardown_ephemeral_pool",
]
