"""Job definitions: which job types exist, and the defaults that their jobs copy when they are enqueued."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.records import JobDefinition
from runledger.postgres.document import check_limit, check_offset, encode_document
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_definition
from runledger.postgres.sql_files import SqlFile

_UPSERT = SqlFile("definitions", "upsert_definitions")
_INSERT_MISSING = SqlFile("definitions", "insert_missing_definitions")
_GET = SqlFile("definitions", "get_definition")
_LIST = SqlFile("definitions", "list_definitions")
_UPDATE = SqlFile("definitions", "update_definition")


@operation("jobs.upsert_job_definitions")
def upsert_job_definitions(definitions: Iterable[JobDefinition]) -> Steps[None]:
    """Insert definitions, or overwrite all fields of those that exist. Existing jobs are untouched."""
    yield Statement(sql=_UPSERT, document=_definitions_document(definitions), is_only=True)


@operation("jobs.insert_missing_job_definitions")
def insert_missing_job_definitions(definitions: Iterable[JobDefinition]) -> Steps[list[str]]:
    """Insert the definitions that do not exist yet and return their types; leave the others as they are."""
    rows = yield Statement(sql=_INSERT_MISSING, document=_definitions_document(definitions), is_only=True)
    return [row["job_type"] for row in rows]


@operation("jobs.get_job_definition")
def get_job_definition(job_type: str) -> Steps[JobDefinition | None]:
    """Return the definition of a type, or ``None``."""
    rows = yield Statement(sql=_GET, document=encode_document(job_type=job_type), is_only=True)
    return decode_definition(rows[0]) if rows else None


@operation("jobs.list_job_definitions")
def list_job_definitions(
    *, job_type_contains: str | None = None, limit: int = 100, offset: int = 0
) -> Steps[list[JobDefinition]]:
    """Return definitions in the order of their type.

    Args:
        job_type_contains: Only types with this text in them; case does not matter, ``%`` and ``_`` are literal.
        limit: Rows at most.
        offset: Rows to skip.
    """
    check_limit(limit)
    check_offset(offset)
    document = encode_document(job_type_contains=job_type_contains, limit=limit, offset=offset)
    rows = yield Statement(sql=_LIST, document=document, is_only=True)
    return [decode_definition(row) for row in rows]


@operation("jobs.update_job_definition")
def update_job_definition(
    job_type: str,
    *,
    max_attempts: int | None = None,
    default_timeout: timedelta | None = None,
    default_priority: int | None = None,
    is_enabled: bool | None = None,
) -> Steps[JobDefinition | None]:
    """Change the given fields of a definition and return it, or ``None`` when the type is unknown.

    Disabling a type stops new jobs of it; pending ones still run.
    """
    # The record knows the rules of its fields; building one with the changes applies them.
    given = {
        "max_attempts": max_attempts,
        "default_timeout": default_timeout,
        "default_priority": default_priority,
        "is_enabled": is_enabled,
    }
    changed = JobDefinition(job_type=job_type, **{name: value for name, value in given.items() if value is not None})  # pyright: ignore[reportArgumentType]
    document = encode_document(
        job_type=job_type,
        max_attempts=max_attempts,
        default_timeout_seconds=None if default_timeout is None else _seconds(changed),
        default_priority=default_priority,
        is_enabled=is_enabled,
    )
    rows = yield Statement(sql=_UPDATE, document=document, is_only=True)
    return decode_definition(rows[0]) if rows else None


def _no_definitions(given: object) -> InvalidArgumentError:
    return InvalidArgumentError(
        "definitions", f"hold a {type(given).__name__}", "pass JobDefinition objects, such as registry.definitions()"
    )


def _definitions_document(definitions: Iterable[JobDefinition]) -> str:
    if not isinstance(definitions, Iterable) or isinstance(definitions, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _no_definitions(definitions)
    definitions = list(definitions)
    for definition in definitions:
        if not isinstance(definition, JobDefinition):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _no_definitions(definition)
    # One row per type: ON CONFLICT cannot touch a row twice. As with single calls, the last one counts.
    by_type = {definition.job_type: definition for definition in definitions}
    return json.dumps(
        {
            "definitions": [
                {
                    "job_type": definition.job_type,
                    "version": definition.version,
                    "max_attempts": definition.max_attempts,
                    "default_timeout_seconds": _seconds(definition),
                    "default_priority": definition.default_priority,
                    "is_enabled": definition.is_enabled,
                }
                for definition in by_type.values()
            ]
        },
        ensure_ascii=False,
    )


def _seconds(definition: JobDefinition) -> int:
    return int(definition.default_timeout.total_seconds())
