"""The operation that brings a schema up to date."""

from __future__ import annotations

from dataclasses import dataclass

from runledger.postgres.compatibility import check_legacy_rows, read_history
from runledger.postgres.document import encode_document
from runledger.postgres.migrator import CREATE_HISTORY_TABLE, MIGRATOR
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.schema_name import quote_schema
from runledger.postgres.server_version import check_server_version
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_CHECK_SESSION = SqlFile("migrations", "check_session")
_LOCK = SqlFile("migrations", "lock_migrations")
_SCHEMA_EXISTS = SqlFile("migrations", "schema_exists")
_RECORD = SqlFile("migrations", "record_migration")

# lock_not_available (lock_timeout) and query_canceled (statement_timeout).
_WAITED_TOO_LONG = frozenset({"55P03", "57014"})


@dataclass(frozen=True, slots=True)
class _MigrationText:
    """A statement of a migration, before the schema is known."""

    source: str

    def text(self, schema: str) -> str:
        return self.source.replace("{schema}", quote_schema(schema))


@operation("schema.migrate_after_idempotency_cutover")
def migrate_after_idempotency_cutover() -> Steps[list[int]]:
    """Apply the missing migrations, validate the idempotency checks, and return the versions that were applied.

    An up-to-date schema gives an empty list. The schema itself is created when it is missing. All of it happens under
    an advisory lock that ends with its transaction: of many processes that start at once one migrates and the others
    find nothing to do.

    On a pool the migrations are one transaction and the validation is another, so that reading large tables holds up
    nobody, and that rows which cannot be validated do not undo the migrations. In a caller's transaction both are
    part of it. Calling it says that the cutover may be enforced.

    Raises:
        IncompatibleSchemaError: The database was migrated by newer or other code, or a migration is recorded as
            failed. Nothing was changed.
        LegacyIdempotencySnapshotsMissingError: Keyed rows from before the snapshots remain. The migrations are
            applied; repair the rows and call again.
        QueryError: ``schema.server_too_old`` below PostgreSQL 18;
            ``schema.migration_session_unsuitable`` for a transaction that is not READ COMMITTED, that is read-only, or
            whose encoding cannot name the schema; ``schema.migration_lock_timeout`` when another process migrated for
            longer than the session may wait; ``db.permission_denied``.
    """
    yield from _lock(opens_part=False)
    applied = yield from _apply_missing()
    yield from _lock(opens_part=True)
    for check in (yield from check_legacy_rows()):
        yield Statement(sql=check, document=None)
    return applied


def _lock(*, opens_part: bool) -> Steps[None]:
    # What cannot be validated must not undo the migrations, whoever commits them.
    check = Statement(sql=_CHECK_SESSION, document=encode_document(), opens_part=opens_part, keeps_parts=opens_part)
    session = (yield check)[0]
    check_server_version(session["server_version_num"])
    if not session["is_read_committed"]:
        # A snapshot from before the wait for the lock would not show what the other process applied.
        raise _unsuitable(
            "its isolation level is not READ COMMITTED; set default_transaction_isolation, or begin it so"
        )
    if not session["is_writable"]:
        raise _unsuitable("it is read-only; use the primary server and a transaction that may write, or only check")
    if not session["is_schema_readable"]:
        raise _unsuitable("its client_encoding garbles the name of the schema; set client_encoding to UTF8")
    try:
        yield Statement(sql=_LOCK, document=encode_document(), is_guarded=True)
    except QueryError as error:
        if error.sqlstate not in _WAITED_TOO_LONG:
            raise
    else:
        return
    raise refusal(
        QueryErrorCategory.CONFLICT,
        "schema.migration_lock_timeout",
        "another process migrates this schema, and lock_timeout or statement_timeout forbids to wait; try again",
    )


def _apply_missing() -> Steps[list[int]]:
    schema_exists = (yield Statement(sql=_SCHEMA_EXISTS, document=encode_document()))[0]["schema_exists"]
    if not schema_exists:
        yield Statement(sql=_MigrationText("CREATE SCHEMA {schema}"), document=None)
    yield Statement(sql=_MigrationText(CREATE_HISTORY_TABLE), document=None)
    applied = (yield from read_history()) or {}
    missing = [migration for migration in MIGRATOR.migrations if migration.version not in applied]
    for migration in missing:
        for statement in migration.statements():
            yield Statement(sql=_MigrationText(statement), document=None)
        document = encode_document(
            version=migration.version, description=migration.description, checksum=migration.checksum.hex()
        )
        yield Statement(sql=_RECORD, document=document)
    return [migration.version for migration in missing]


def _unsuitable(problem: str) -> QueryError:
    return refusal(
        QueryErrorCategory.VALIDATION,
        "schema.migration_session_unsuitable",
        f"this transaction cannot migrate: {problem}",
    )
