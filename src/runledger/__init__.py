"""Runledger: durable jobs and workflows in the application's own PostgreSQL.

The names most programs need. Packages, lowest layer first:

- ``runledger.core``: rules and records, without any I/O;
- ``runledger.postgres``: operations, their SQL, migrations, drivers;
- ``runledger.client``: the ledger that an application calls;
- ``runledger.runtime``: worker, reaper, supervisor;
- ``runledger.embedded``: a PostgreSQL server for development, demonstrations and tests;
- ``runledger.testing``: databases for tests; ``runledger.cli``: the command line.

A name is loaded when it is first used: the driver and asyncio take a quarter of a second, which
``runledger --help``, or a process that wants ``runledger.core`` alone, need not pay.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runledger.client import Ledger, SyncLedger
    from runledger.core import (
        Admin,
        EnqueueRequest,
        Global,
        InvalidArgumentError,
        JobContext,
        JobDefinition,
        JobFailure,
        JobHandler,
        JobStatus,
        Organization,
        RunledgerError,
        Workflow,
        WorkflowAppend,
        WorkflowRunFailedError,
    )
    from runledger.postgres import Database, DatabaseConnectionError, QueryError
    from runledger.runtime import AsyncJobContext, JobCatalog, JobRegistry, JobsConfig, Supervisor, ThreadJobContext

__all__ = [
    "Admin",
    "AsyncJobContext",
    "Database",
    "DatabaseConnectionError",
    "EnqueueRequest",
    "Global",
    "InvalidArgumentError",
    "JobCatalog",
    "JobContext",
    "JobDefinition",
    "JobFailure",
    "JobHandler",
    "JobRegistry",
    "JobStatus",
    "JobsConfig",
    "Ledger",
    "Organization",
    "QueryError",
    "RunledgerError",
    "Supervisor",
    "SyncLedger",
    "ThreadJobContext",
    "Workflow",
    "WorkflowAppend",
    "WorkflowRunFailedError",
]

# The imports above once more, for the running program; a test compares the two.
_PACKAGES = {
    "runledger.client": ("Ledger", "SyncLedger"),
    "runledger.core": (
        "Admin",
        "EnqueueRequest",
        "Global",
        "InvalidArgumentError",
        "JobContext",
        "JobDefinition",
        "JobFailure",
        "JobHandler",
        "JobStatus",
        "Organization",
        "RunledgerError",
        "Workflow",
        "WorkflowAppend",
        "WorkflowRunFailedError",
    ),
    "runledger.postgres": ("Database", "DatabaseConnectionError", "QueryError"),
    "runledger.runtime": (
        "AsyncJobContext",
        "JobCatalog",
        "JobRegistry",
        "JobsConfig",
        "Supervisor",
        "ThreadJobContext",
    ),
}
_PACKAGE_OF = {name: package for package, names in _PACKAGES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load the package of a name at its first use (PEP 562)."""
    if name not in _PACKAGE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PACKAGE_OF[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    """Return the names that are loaded and those that can be."""
    return sorted(globals().keys() | set(__all__))
