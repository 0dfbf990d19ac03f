"""Describing the SQL files, and the committed file that holds the description."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow

import runledger.postgres
from runledger.postgres.schema_name import DEFAULT_SCHEMA
from runledger.postgres.sql_files import SqlFile
from tools.sql_lock.document_fields import UnknownFormError, document_fields

# Beside the test that reads it, not in the package: users of the wheel have no use for it.
LOCK_PATH = Path(__file__).resolve().parents[2] / "tests" / "contract" / "sql.lock.json"
SQL_ROOT = Path(runledger.postgres.__file__).parent / "sql"


class UndescribableError(Exception):
    """A file breaks a rule that the description depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementDescription:
    """What one SQL file takes and gives.

    Attributes:
        sha256: Hexadecimal digest of the file.
        document: Paths of the fields it reads, sorted; `tools.sql_lock.document_fields` explains them.
        columns: PostgreSQL type of each result column, in the order of the result.
    """

    sha256: str
    document: list[str]
    columns: dict[str, str]


Lock = Mapping[str, StatementDescription]
"""Descriptions by file, ``<area>/<name>``."""


def sql_files() -> list[SqlFile]:
    """Return every SQL file of the package, sorted."""
    return [SqlFile(path.parent.name, path.stem) for path in sorted(SQL_ROOT.glob("*/*.sql"))]


def describe_all(connection: psycopg.Connection[TupleRow], schema: str = DEFAULT_SCHEMA) -> Lock:
    """Describe every file by preparing it on a migrated database; nothing is executed.

    Raises:
        UndescribableError: PostgreSQL refuses a file, or a file breaks a rule; the message names it.
    """
    return {f"{file.area}/{file.name}": describe(connection, file, schema) for file in sql_files()}


def describe(connection: psycopg.Connection[TupleRow], file: SqlFile, schema: str) -> StatementDescription:
    """Describe one file by preparing it on a migrated database.

    Raises:
        UndescribableError: PostgreSQL refuses the file, or the file breaks a rule.
    """
    name = f"{file.area}/{file.name}"
    source = SQL_ROOT.joinpath(file.area, f"{file.name}.sql").read_bytes()
    text = file.text(schema)
    try:
        document = document_fields(text)
    except UnknownFormError as error:
        raise UndescribableError(f"{name}: {error}") from error
    return StatementDescription(
        sha256=hashlib.sha256(source).hexdigest(), document=document, columns=_columns(connection, name, text)
    )


def read_lock() -> Lock:
    """Return the committed lock; without a file, an empty one."""
    if not LOCK_PATH.exists():
        return {}
    content = json.loads(LOCK_PATH.read_text(encoding="utf-8"))
    return {name: StatementDescription(**entry) for name, entry in content.items()}


def render(lock: Lock) -> str:
    """Return the text of the lock file."""
    return json.dumps({name: asdict(lock[name]) for name in sorted(lock)}, indent=2) + "\n"


def _columns(connection: psycopg.Connection[TupleRow], name: str, text: str) -> dict[str, str]:
    session = connection.pgconn
    prepared = session.prepare(b"", text.encode())
    if prepared.status != ExecStatus.COMMAND_OK:
        raise UndescribableError(f"{name}: {prepared.error_message.decode()}")
    described = session.describe_prepared(b"")
    types = [described.param_type(index) for index in range(described.nparams)]
    if types != [psycopg.adapters.types["jsonb"].oid]:
        raise UndescribableError(f"{name}: the one parameter of a statement is $1::jsonb")
    columns: dict[str, str] = {}
    for index in range(described.nfields):
        column = (described.fname(index) or b"").decode()
        if column in columns:
            raise UndescribableError(f"{name}: more than one result column is called {column!r}")
        columns[column] = _type_name(connection, described.ftype(index))
    return columns


def _type_name(connection: psycopg.Connection[TupleRow], oid: int) -> str:
    row = connection.execute("SELECT format_type(%s::oid, NULL)", [oid]).fetchone()
    assert row is not None  # noqa: S101 - a function call gives one row
    return row[0]
