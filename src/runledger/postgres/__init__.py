"""PostgreSQL: operations, the statements behind them, migrations and drivers.

``run`` and ``run_sync`` execute the operations of ``jobs`` and ``migrate`` on psycopg connections and pools.
"""

from runledger.postgres import jobs
from runledger.postgres.drivers.psycopg import run, run_sync
from runledger.postgres.drivers.psycopg.database import Database
from runledger.postgres.migrator import MIGRATOR, Migration, Migrator, SchemaCompatibilityError, SchemaProblem, migrate
from runledger.postgres.operation import Operation, Statement
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
    "Migration",
    "Migrator",
    "Operation",
    "QueryError",
    "QueryErrorCategory",
    "SchemaCompatibilityError",
    "SchemaProblem",
    "Statement",
    "jobs",
    "migrate",
    "run",
    "run_sync",
]
