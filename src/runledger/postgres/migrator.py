"""The schema's migrations and the operation that applies them."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files

from runledger.core.errors import RunledgerError
from runledger.postgres.document import encode_document
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.schema_name import quote_schema
from runledger.postgres.sql_files import SqlFile

_LOCK = SqlFile("migrations", "lock_migrations")
_SCHEMA_EXISTS = SqlFile("migrations", "schema_exists")
_LIST_APPLIED = SqlFile("migrations", "list_applied")
_LIST_RECORDED = SqlFile("migrations", "list_recorded_versions")
_RECORD = SqlFile("migrations", "record_migration")

_FILE_NAME = re.compile(r"(\d{12})_(\w+)\.sql")
_DOLLAR_QUOTE = re.compile(r"\$\w*\$")


class SchemaProblem(StrEnum):
    """Why a schema and this version of the code do not fit together."""

    VERSION_MISMATCH = "VersionMismatch"
    DIRTY = "Dirty"
    VERSION_MISSING = "VersionMissing"


class SchemaCompatibilityError(RunledgerError):
    """The migrations recorded in the database and the bundled ones disagree; nothing was changed.

    Attributes:
        problem: What disagrees.
        version: The migration concerned.
    """

    def __init__(self, problem: SchemaProblem, version: int, remedy: str) -> None:
        super().__init__(f"migration {version}: {remedy}", code="schema.incompatible")
        self.problem = problem
        self.version = version


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One bundled migration.

    Attributes:
        version: Its number; migrations apply in this order.
        description: The name of its file.
        source: Its text, in which ``{schema}`` stands for the quoted schema.
        checksum: SHA-256 of the source.
    """

    version: int
    description: str
    source: str = field(repr=False)
    checksum: bytes

    def statements(self) -> list[str]:
        """Return the statements, one per call, in order."""
        return _split(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrator:
    """The bundled migrations, for hosts that apply them with their own tooling and for ``migrate``."""

    migrations: tuple[Migration, ...]

    @property
    def checksum(self) -> str:
        """Hexadecimal digest over all migrations; it changes whenever the schema does."""
        return hashlib.sha256(b"".join(migration.checksum for migration in self.migrations)).hexdigest()

    @property
    def versions(self) -> tuple[int, ...]:
        """The bundled versions, ascending."""
        return tuple(migration.version for migration in self.migrations)


@dataclass(frozen=True, slots=True)
class _MigrationText:
    """A statement of a migration, before the schema is known."""

    source: str

    def text(self, schema: str) -> str:
        return self.source.replace("{schema}", quote_schema(schema))


@functools.cache
def _load() -> Migrator:
    migrations: list[Migration] = []
    for entry in files("runledger.postgres").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(entry.name)
        if match is not None:
            source = entry.read_text(encoding="utf-8")
            digest = hashlib.sha256(source.encode()).digest()
            migrations.append(Migration(version=int(match[1]), description=match[2], source=source, checksum=digest))
    return Migrator(migrations=tuple(sorted(migrations, key=lambda migration: migration.version)))


MIGRATOR = _load()


@operation("schema.migrate")
def migrate() -> Steps[list[int]]:
    """Apply the missing migrations and return their versions; an up-to-date schema gives an empty list.

    One transaction, under an advisory lock that ends with it: of many processes that start at once one migrates and
    the others find nothing to do. The schema itself is created when it is missing.

    Raises:
        SchemaCompatibilityError: The database was migrated by newer or other code, or a migration is recorded as
            failed. Nothing was changed.
    """
    yield Statement(sql=_LOCK, document=encode_document())
    schema_exists = (yield Statement(sql=_SCHEMA_EXISTS, document=encode_document()))[0]["schema_exists"]
    if not schema_exists:
        yield Statement(sql=_MigrationText("CREATE SCHEMA {schema}"), document=None)
    yield Statement(sql=_MigrationText(_HISTORY_TABLE), document=None)
    applied = {row["version"]: row for row in (yield Statement(sql=_LIST_APPLIED, document=encode_document()))}
    if applied:
        recorded = yield Statement(sql=_LIST_RECORDED, document=encode_document())
        _check_history(applied, [row["version"] for row in recorded])
    missing = [migration for migration in MIGRATOR.migrations if migration.version not in applied]
    for migration in missing:
        for statement in migration.statements():
            yield Statement(sql=_MigrationText(statement), document=None)
        document = encode_document(
            version=migration.version, description=migration.description, checksum=migration.checksum.hex()
        )
        yield Statement(sql=_RECORD, document=document)
    return [migration.version for migration in missing]


_HISTORY_TABLE = """
CREATE TABLE IF NOT EXISTS {schema}.runledger_migrations (
    version       bigint PRIMARY KEY,
    description   text NOT NULL,
    installed_on  timestamptz NOT NULL DEFAULT now(),
    success       boolean NOT NULL,
    checksum      bytea NOT NULL
)
"""


def _check_history(applied: dict[int, Row], recorded: list[int]) -> None:
    """Compare what the database says about the bundled versions; versions of other applications do not matter."""
    for migration in MIGRATOR.migrations:
        row = applied.get(migration.version)
        if row is None:
            continue
        if not row["success"]:
            raise SchemaCompatibilityError(
                SchemaProblem.DIRTY,
                migration.version,
                "is recorded as failed; repair the schema and its record by hand",
            )
        if row["checksum"] != migration.checksum:
            raise SchemaCompatibilityError(
                SchemaProblem.VERSION_MISMATCH,
                migration.version,
                "was applied with another text; run the version of the code that applied it",
            )
    unknown = sorted(set(recorded) - set(MIGRATOR.versions))
    if unknown:
        raise SchemaCompatibilityError(
            SchemaProblem.VERSION_MISSING,
            unknown[-1],
            "is unknown to this code; the database is newer, upgrade the code",
        )


def _split(source: str) -> list[str]:
    """Split a migration at the semicolons that end a line outside dollar quotes, and drop comment lines."""
    statements: list[str] = []
    lines: list[str] = []
    is_quoted = False
    for line in source.splitlines():
        if not is_quoted and (not line.strip() or line.lstrip().startswith("--")):
            continue
        lines.append(line)
        if len(_DOLLAR_QUOTE.findall(line)) % 2 == 1:
            is_quoted = not is_quoted
        if not is_quoted and line.rstrip().endswith(";"):
            statements.append("\n".join(lines).rstrip().removesuffix(";"))
            lines = []
    if lines:
        raise ValueError("a migration ends in the middle of a statement")
    return statements
