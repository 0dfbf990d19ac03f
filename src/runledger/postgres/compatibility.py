"""Whether a schema and this version of the code fit together, and how they differ where they do not."""

from __future__ import annotations

from enum import StrEnum

from runledger.core.errors import RunledgerError
from runledger.postgres.document import encode_document
from runledger.postgres.migrator import MIGRATOR, IdempotencyCheck
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.server_version import check_server_version
from runledger.postgres.sql_files import SqlFile

_FIND_HISTORY = SqlFile("migrations", "find_history")
_LIST_APPLIED = SqlFile("migrations", "list_applied")
_LIST_RECORDED = SqlFile("migrations", "list_recorded_versions")
_LIST_UNVALIDATED_CHECKS = SqlFile("migrations", "list_unvalidated_checks")
_COUNT_LEGACY_ROWS = SqlFile("migrations", "count_legacy_keyed_rows")


class SchemaProblem(StrEnum):
    """Why a schema and this version of the code do not fit together."""

    MISSING_MIGRATION_HISTORY = "MissingMigrationHistory"
    """There is no history of migrations: the schema was never migrated."""

    VERSION_MISMATCH = "VersionMismatch"
    """A migration was applied with another text."""

    DIRTY = "Dirty"
    """A migration is recorded as failed."""

    VERSION_MISSING = "VersionMissing"
    """The schema was migrated by newer code: it knows a version that this code does not."""

    VERSION_TOO_NEW = "VersionTooNew"
    """The schema is older than the code: a version of this code was not applied."""

    LEGACY_IDEMPOTENCY_SNAPSHOTS_MISSING = "LegacyIdempotencySnapshotsMissing"
    """Rows with an idempotency key have no snapshot of their request."""


class SchemaCompatibilityError(RunledgerError):
    """The schema and this version of the code do not fit together.

    ::

        SchemaCompatibilityError                     .problem .difference
        ├── MissingMigrationHistoryError             .required_first_migration_version
        ├── IncompatibleSchemaError                  .version .latest_applied_version
        └── LegacyIdempotencySnapshotsMissingError   .job_count .workflow_count

    The text begins with the schema, the host, the port and the database.

    Attributes:
        problem: The way in which they disagree.
        difference: The text without the place.
    """

    def __init__(self, problem: SchemaProblem, difference: str, *, code: str) -> None:
        super().__init__(difference, code=code)
        self.problem = problem
        self.difference = difference

    def locate(self, place: str) -> None:
        """Say where it is; for whoever runs the operation, which does not know."""
        self.args = (f"{place}: {self.difference}",)


class MissingMigrationHistoryError(SchemaCompatibilityError):
    """The schema was never migrated.

    Attributes:
        required_first_migration_version: The migration with which it would begin.
    """

    def __init__(self) -> None:
        super().__init__(
            SchemaProblem.MISSING_MIGRATION_HISTORY,
            "there is no history of migrations; migrate with `runledger migrate` or `ledger.migrate()`, or correct "
            "the name of the schema",
            code="schema.missing_migration_history",
        )
        self.required_first_migration_version = MIGRATOR.versions[0]


class IncompatibleSchemaError(SchemaCompatibilityError):
    """What the database records of its migrations and what the code brings disagree.

    Attributes:
        version: The migration concerned.
        latest_applied_version: The last bundled migration that was applied, where there is one.
    """

    def __init__(
        self, problem: SchemaProblem, version: int, remedy: str, *, latest_applied_version: int | None
    ) -> None:
        super().__init__(problem, f"migration {version}: {remedy}", code="schema.incompatible")
        self.version = version
        self.latest_applied_version = latest_applied_version


class LegacyIdempotencySnapshotsMissingError(SchemaCompatibilityError):
    """Rows from before the snapshots have an idempotency key, so a retry cannot be compared with them.

    The migrations are applied, and new rows are checked already. What is left is to repair these rows, and
    to call again.

    Attributes:
        job_count: Jobs with a key and without a snapshot.
        workflow_count: Workflow runs with a key and without a snapshot.
    """

    def __init__(self, *, job_count: int, workflow_count: int) -> None:
        super().__init__(
            SchemaProblem.LEGACY_IDEMPOTENCY_SNAPSHOTS_MISSING,
            f"jobs with an idempotency key and without enqueue_request: {job_count}, workflow runs: {workflow_count}; "
            "delete finished ones, clear keys that no longer matter, or fill in the original requests, and try again",
            code="schema.legacy_idempotency_snapshots_missing",
        )
        self.job_count = job_count
        self.workflow_count = workflow_count


@operation("schema.ensure_schema_compatible_after_idempotency_cutover")
def ensure_schema_compatible_after_idempotency_cutover() -> Steps[list[IdempotencyCheck]]:
    """Check that the schema has every migration of this code, and return the checks that wait for validation.

    Nothing is created, changed or locked: the role needs to read ``runledger_migrations``,
    ``runledger_migration_history``, ``job_queue`` and ``workflow_runs``. Calling it says that the cutover may be
    enforced: rows with an idempotency key and without a snapshot are an error.

    The list is empty after ``migrate_after_idempotency_cutover``. A host that applies the migrations itself
    validates what it names.

    Raises:
        MissingMigrationHistoryError: The schema was never migrated.
        IncompatibleSchemaError: The recorded migrations are not those of this code.
        LegacyIdempotencySnapshotsMissingError: Keyed rows from before the snapshots remain.
        QueryError: ``schema.server_too_old``: the server is older than PostgreSQL 18.
    """
    applied = yield from read_history()
    if applied is None:
        raise MissingMigrationHistoryError
    _check_complete(applied)
    return (yield from check_legacy_rows())


@operation("schema.ensure_schema_serves")
def ensure_schema_serves() -> Steps[None]:
    """Check, before anything is claimed, that the tables are there and not older than this code.

    Tables of newer code are accepted: migrations come first, and a process of the old code may start while the new
    one is rolled out. So are tables without a history, which the host made with its own tooling. Nothing is created,
    changed or locked; the role needs to read ``runledger_migrations``.

    Raises:
        MissingMigrationHistoryError: There are no tables.
        IncompatibleSchemaError: A migration of this code is not applied, or is recorded as failed.
        QueryError: ``schema.server_too_old``: the server is older than PostgreSQL 18.
    """
    found = (yield Statement(sql=_FIND_HISTORY, document=encode_document()))[0]
    check_server_version(found["server_version_num"])
    has_history, has_tables = found["has_migrations"], found["has_jobs"]
    if has_history:
        applied = {row["version"]: row for row in (yield Statement(sql=_LIST_APPLIED, document=encode_document()))}
        _check_succeeded(applied)
        _check_complete(applied)
    elif not has_tables:
        raise MissingMigrationHistoryError


def read_history() -> Steps[dict[int, Row] | None]:
    """Return the applied migrations by version, of any origin, or ``None`` where there is no history.

    Raises:
        IncompatibleSchemaError: What is recorded contradicts the bundled migrations.
    """
    found = (yield Statement(sql=_FIND_HISTORY, document=encode_document()))[0]
    check_server_version(found["server_version_num"])
    if not found["has_migrations"]:
        return None
    applied = {row["version"]: row for row in (yield Statement(sql=_LIST_APPLIED, document=encode_document()))}
    _check_applied(applied)
    if found["has_history"]:
        recorded = yield Statement(sql=_LIST_RECORDED, document=encode_document())
        _check_recorded(applied, [row["version"] for row in recorded])
    return applied


def check_legacy_rows() -> Steps[list[IdempotencyCheck]]:
    """Return the checks that are not validated yet, all of whose rows have what the checks demand.

    Raises:
        LegacyIdempotencySnapshotsMissingError: Some have not. Where both are validated nothing is counted.
    """
    rows = yield Statement(sql=_LIST_UNVALIDATED_CHECKS, document=encode_document())
    unvalidated = {row["constraint_name"] for row in rows}
    if not unvalidated:
        return []
    counted = (yield Statement(sql=_COUNT_LEGACY_ROWS, document=encode_document()))[0]
    job_count, workflow_count = counted["job_count"], counted["workflow_count"]
    if job_count or workflow_count:
        raise LegacyIdempotencySnapshotsMissingError(job_count=job_count, workflow_count=workflow_count)
    return [check for check in MIGRATOR.checks if check.constraint_name in unvalidated]


def _check_applied(applied: dict[int, Row]) -> None:
    """Compare what was applied with the bundled versions; versions of other applications do not matter."""
    _check_succeeded(applied)
    for migration in MIGRATOR.migrations:
        row = applied.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise IncompatibleSchemaError(
                SchemaProblem.VERSION_MISMATCH,
                migration.version,
                "was applied with another text; run the version of the code that applied it",
                latest_applied_version=_latest(applied),
            )


def _check_succeeded(applied: dict[int, Row]) -> None:
    for version in MIGRATOR.versions:
        if version in applied and not applied[version]["success"]:
            raise IncompatibleSchemaError(
                SchemaProblem.DIRTY,
                version,
                "is recorded as failed; repair the schema and its record by hand",
                latest_applied_version=_latest(applied),
            )


def _check_complete(applied: dict[int, Row]) -> None:
    for version in MIGRATOR.versions:
        if version not in applied:
            raise IncompatibleSchemaError(
                SchemaProblem.VERSION_TOO_NEW,
                version,
                "is not applied; the database is older than the code, migrate it with `runledger migrate` or "
                "`ledger.migrate()`",
                latest_applied_version=_latest(applied),
            )


def _check_recorded(applied: dict[int, Row], recorded: list[int]) -> None:
    unknown = sorted(set(recorded) - set(MIGRATOR.versions))
    if unknown:
        raise IncompatibleSchemaError(
            SchemaProblem.VERSION_MISSING,
            unknown[-1],
            "is unknown to this code; the database is newer, upgrade the code",
            latest_applied_version=_latest(applied),
        )


def _latest(applied: dict[int, Row]) -> int | None:
    return max((version for version in MIGRATOR.versions if version in applied), default=None)
