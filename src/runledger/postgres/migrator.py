"""The bundled migrations."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from importlib.resources import files

from runledger.postgres.schema_name import DEFAULT_SCHEMA, quote_schema

_FILE_NAME = re.compile(r"(\d{12})_(\w+)\.sql")
_DOLLAR_QUOTE = re.compile(r"\$\w*\$")

CREATE_HISTORY_TABLE = """\
CREATE TABLE IF NOT EXISTS {schema}.runledger_migrations (
    version       bigint PRIMARY KEY,
    description   text NOT NULL,
    installed_on  timestamptz NOT NULL DEFAULT now(),
    success       boolean NOT NULL,
    checksum      bytea NOT NULL
)"""
"""The table of applied migrations, which has to be there before the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One bundled migration.

    Attributes:
        version: The number of the migration; migrations apply in this order.
        description: The name of its file.
        source: Its text, in which ``{schema}`` stands for the quoted schema.
        checksum: SHA-256 of the source.
    """

    version: int
    description: str
    source: str = field(repr=False)
    checksum: bytes

    def statements(self) -> list[str]:
        """Return the statements, one per call, in order. ``{schema}`` is still in them."""
        return _split(self.source)

    def script(self, schema: str) -> list[str]:
        """Return the statements for a schema, the last of which records the migration.

        They belong into one transaction. What records it is the row that ``migrate_after_idempotency_cutover`` would
        write into ``runledger_migrations``, so that it and the check know what was applied.

        Raises:
            InvalidArgumentError: PostgreSQL could not have a schema of this name.
        """
        quoted = quote_schema(schema)
        record = (
            f"INSERT INTO {quoted}.runledger_migrations (version, description, success, checksum)\n"
            f"VALUES ({self.version}, '{self.description}', true, decode('{self.checksum.hex()}', 'hex'))"
        )
        return [*(statement.replace("{schema}", quoted) for statement in self.statements()), record]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyCheck:
    """A check constraint that holds for new rows and was not validated for the old ones.

    Attributes:
        table_name: The table, without its schema.
        constraint_name: The constraint.
    """

    table_name: str
    constraint_name: str

    def text(self, schema: str) -> str:
        """Return the statement that validates it. It reads the whole table, and holds up neither readers nor writers.

        Raises:
            InvalidArgumentError: PostgreSQL could not have a schema of this name.
        """
        return f"ALTER TABLE {quote_schema(schema)}.{self.table_name} VALIDATE CONSTRAINT {self.constraint_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrator:
    """The bundled migrations, also for hosts that apply them with their own tooling.

    Attributes:
        migrations: The migrations, in the order in which they apply.
        checks: What they leave NOT VALID, to be validated when no old row is in the way.
    """

    migrations: tuple[Migration, ...]
    checks: tuple[IdempotencyCheck, ...]

    @property
    def checksum(self) -> str:
        """Hexadecimal digest over all migrations; it changes whenever the schema does."""
        digest = hashlib.sha256(b"".join(migration.checksum for migration in self.migrations))
        for check in self.checks:
            digest.update(check.text(DEFAULT_SCHEMA).encode())
        return digest.hexdigest()

    def preparation(self, schema: str) -> list[str]:
        """Return the statements that make the schema and its table of applied migrations, before the first migration.

        Raises:
            InvalidArgumentError: PostgreSQL could not have a schema of this name.
        """
        quoted = quote_schema(schema)
        return [f"CREATE SCHEMA IF NOT EXISTS {quoted}", CREATE_HISTORY_TABLE.replace("{schema}", quoted)]

    @property
    def versions(self) -> tuple[int, ...]:
        """The bundled versions, ascending."""
        return tuple(migration.version for migration in self.migrations)


_CHECKS = (
    IdempotencyCheck(table_name="job_queue", constraint_name="ck_job_queue_idempotency_enqueue_request"),
    IdempotencyCheck(table_name="workflow_runs", constraint_name="ck_workflow_runs_idempotency_enqueue_request"),
)


@functools.cache
def _load() -> Migrator:
    migrations: list[Migration] = []
    for entry in files("runledger.postgres").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(entry.name)
        if match is not None:
            source = entry.read_text(encoding="utf-8")
            digest = hashlib.sha256(source.encode()).digest()
            migrations.append(Migration(version=int(match[1]), description=match[2], source=source, checksum=digest))
    return Migrator(migrations=tuple(sorted(migrations, key=lambda migration: migration.version)), checks=_CHECKS)


MIGRATOR = _load()


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
