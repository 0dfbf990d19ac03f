"""Job definitions: which job types exist, and the defaults that their jobs copy when they are enqueued."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta

from runledger.core.database_text import check_text
from runledger.core.item_checks import check_items
from runledger.core.jobs.records import JobDefinition
from runledger.postgres.document import check_limit, check_offset, encode_document, text_filters
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_definition
from runledger.postgres.sql_errors import QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_UPSERT = SqlFile("definitions", "upsert_definitions")
_INSERT_MISSING = SqlFile("definitions", "insert_missing_definitions")
_GET = SqlFile("definitions", "get_definition")
_LIST = SqlFile("definitions", "list_definitions")
_UPDATE = SqlFile("definitions", "update_definition")
_LIST_IN_SCHEDULES = SqlFile("definitions", "list_types_in_active_schedules")


@operation("jobs.upsert_job_definitions")
def upsert_job_definitions(definitions: Iterable[JobDefinition]) -> Steps[None]:
    """Insert definitions, or overwrite all fields of those that exist. Existing jobs are untouched.

    Raises:
        QueryError: ``job_definition.active_schedule_exists``: one is to be disabled, and an active schedule needs it.
            Nothing was written.
    """
    by_type = _by_type(definitions)
    disabled = sorted(definition.job_type for definition in by_type.values() if not definition.is_enabled)
    yield Statement(sql=_UPSERT, document=_definitions_document(by_type), is_only=not disabled)
    if disabled:
        yield from check_no_active_schedule("jobs.upsert_job_definitions", disabled)


@operation("jobs.insert_missing_job_definitions")
def insert_missing_job_definitions(definitions: Iterable[JobDefinition]) -> Steps[list[str]]:
    """Insert the definitions that do not exist yet and return their types; leave the others as they are."""
    document = _definitions_document(_by_type(definitions))
    rows = yield Statement(sql=_INSERT_MISSING, document=document, is_only=True)
    return [row["job_type"] for row in rows]


@operation("jobs.get_job_definition")
def get_job_definition(job_type: str) -> Steps[JobDefinition | None]:
    """Return the definition of a type, or ``None``."""
    check_text("job_type", job_type)
    rows = yield Statement(sql=_GET, document=encode_document(job_type=job_type), is_only=True)
    return decode_definition(rows[0]) if rows else None


@operation("jobs.list_job_definitions")
def list_job_definitions(
    *, job_type_contains: str | None = None, limit: int = 100, offset: int = 0
) -> Steps[list[JobDefinition]]:
    """Return definitions in the order of their type.

    Args:
        job_type_contains: Only types with this text in them; case does not matter, ``%`` and ``_`` are literal.
        limit: The most rows to return.
        offset: Rows to skip.
    """
    check_limit(limit)
    check_offset(offset)
    document = encode_document(**text_filters(job_type_contains=job_type_contains), limit=limit, offset=offset)
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

    Args:
        job_type: The type; one that is unknown is not made.
        max_attempts: Attempts of a job; 1 or more.
        default_timeout: How long one attempt may take, in whole seconds.
        default_priority: Higher runs first.
        is_enabled: Whether new jobs are taken.

    Raises:
        QueryError: ``job_definition.active_schedule_exists``: it is to be disabled, and an active schedule needs it.
            Nothing was written.
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
        default_timeout_seconds=None if default_timeout is None else changed.default_timeout_seconds,
        default_priority=default_priority,
        is_enabled=is_enabled,
    )
    rows = yield Statement(sql=_UPDATE, document=document, is_only=is_enabled is not False)
    if rows and is_enabled is False:
        yield from check_no_active_schedule("jobs.update_job_definition", [job_type])
    return decode_definition(rows[0]) if rows else None


def check_no_active_schedule(operation_name: str, job_types: list[str]) -> Steps[None]:
    """Refuse what the statement before has done, if active schedules need the types that it disabled.

    Afterwards, because it holds the locks of the definitions now: a schedule that was made before is committed and
    seen, one that is to be made waits. Beforehand each upsert would have to lock its rows in a statement of its own.

    Raises:
        QueryError: ``job_definition.active_schedule_exists``.
    """
    rows = yield Statement(sql=_LIST_IN_SCHEDULES, document=encode_document(job_types=job_types))
    if rows:
        types = ", ".join(repr(row["job_type"]) for row in rows)
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job_definition.active_schedule_exists",
            f"active schedules make jobs of {types}; pause or delete them before the type is disabled",
            internal=f"{operation_name}: active schedules of {types}",
        )


def definition_fields(definition: JobDefinition) -> dict[str, object]:
    """Return the members of a definition in a document."""
    return {
        "job_type": definition.job_type,
        "version": definition.version,
        "max_attempts": definition.max_attempts,
        "default_timeout_seconds": definition.default_timeout_seconds,
        "default_priority": definition.default_priority,
        "is_enabled": definition.is_enabled,
    }


def _by_type(definitions: Iterable[JobDefinition]) -> dict[str, JobDefinition]:
    """Return one definition for each type; as with single calls, the last. ON CONFLICT cannot touch a row twice."""
    remedy = "pass JobDefinition objects, such as registry.definitions()"
    given = check_items("definitions", definitions, JobDefinition, remedy=remedy)
    return {definition.job_type: definition for definition in given}


def _definitions_document(by_type: dict[str, JobDefinition]) -> str:
    return json.dumps(
        {"definitions": [definition_fields(definition) for definition in by_type.values()]},
        ensure_ascii=False,
    )
