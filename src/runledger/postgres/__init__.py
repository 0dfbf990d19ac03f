"""PostgreSQL: operations, the statements behind them, migrations and drivers.

``run`` and ``run_sync`` execute the operations of ``jobs``, ``workflows``, ``schedules``, ``catalogs``, ``admin`` and
``workers``, and those on the schema, on psycopg connections and pools.
"""

from runledger.postgres import admin, catalogs, jobs, schedules, workers, workflows
from runledger.postgres.compatibility import (
    IdempotencyCheck,
    IncompatibleSchemaError,
    LegacyIdempotencySnapshotsMissingError,
    MissingMigrationHistoryError,
    SchemaCompatibilityError,
    SchemaProblem,
    ensure_schema_compatible_after_idempotency_cutover,
)
from runledger.postgres.drivers.psycopg import run, run_sync
from runledger.postgres.drivers.psycopg.database import Database
from runledger.postgres.migrator import MIGRATOR, Migration, Migrator
from runledger.postgres.operation import Operation, Statement
from runledger.postgres.schema_migration import migrate_after_idempotency_cutover
from runledger.postgres.schema_name import DEFAULT_SCHEMA
from runledger.postgres.sql_errors import (
    ConstraintClassifier,
    DatabaseConnectionError,
    ErrorClass,
    QueryError,
    QueryErrorCategory,
)

__all__ = [
    "DEFAULT_SCHEMA",
    "MIGRATOR",
    "ConstraintClassifier",
    "Database",
    "DatabaseConnectionError",
    "ErrorClass",
    "IdempotencyCheck",
    "IncompatibleSchemaError",
    "LegacyIdempotencySnapshotsMissingError",
    "Migration",
    "Migrator",
    "MissingMigrationHistoryError",
    "Operation",
    "QueryError",
    "QueryErrorCategory",
    "SchemaCompatibilityError",
    "SchemaProblem",
    "Statement",
    "admin",
    "catalogs",
    "ensure_schema_compatible_after_idempotency_cutover",
    "jobs",
    "migrate_after_idempotency_cutover",
    "run",
    "run_sync",
    "schedules",
    "workers",
    "workflows",
]
