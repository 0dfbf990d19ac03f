"""A stand-in for a driver's runner: answers statements with rows made from the SQL lock, and notes what goes by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from runledger.postgres import (
    MIGRATOR,
    Operation,
    QueryError,
    QueryErrorCategory,
    SchemaCompatibilityError,
    Statement,
)
from runledger.postgres.sql_errors import refusal
from runledger.postgres.sql_files import SqlFile
from tests.contract.operation_cases import JOB_ID, OTHER_ID
from tools.sql_lock.lock import Lock

_APPLIED = MIGRATOR.migrations[0]

# Values that decoders or operations look into, so that any value of the type will not do.
_VALUES_OF_COLUMNS: Mapping[tuple[str, str], object] = {
    ("server_version_num", "integer"): 180_000,
    ("status", "text"): "PENDING",
    ("event_type", "text"): "ENQUEUED",
    ("claim_origin", "text"): "DIRECT",
    ("outcome", "text"): "TIMEOUT",
    ("action", "text"): "DEAD_LETTER",
    ("answer", "text"): "SAME",
    ("verdict", "text"): "RELEASED",
    ("edit_verdict", "text"): "UPDATED",
    ("is_too_many", "boolean"): False,
    ("was_written", "boolean"): False,
    ("given_id", "bigint"): 2**40,
    ("is_workflow_managed", "boolean"): False,
    ("missing_job_types", "text[]"): [],
    ("job_types", "text[]"): ["email.send"],
    ("constraint_name", "text"): "ck_job_queue_idempotency_enqueue_request",
    ("version", "bigint"): _APPLIED.version,
    ("checksum", "bytea"): _APPLIED.checksum,
    ("canceled_step_ids", "uuid[]"): [JOB_ID],
    ("ended_run_ids", "uuid[]"): [JOB_ID],
    ("inconsistent_count", "bigint"): 0,
    ("cron_expr", "text"): "30 2 * * *",
    ("timezone", "text"): "UTC",
    ("catch_up", "text"): "latest",
    ("overlap", "text"): "allow",
    ("owner", "text"): "operator",
}
# Where what fits one file does not fit another.
_VALUES_IN_FILES: Mapping[tuple[str, str], object] = {
    **{
        (f"workflows/{name}", "status"): "RUNNING"
        for name in ("lock_workflow_runs", "get_workflow_run", "list_workflow_runs", "list_waiting_workflow_runs")
    },
    **{
        (f"workflows/{name}", column): value
        for name in ("list_workflow_steps", "read_workflow_steps_by_key")
        for column, value in (("status", "WAITING_FOR_EXTERNAL"), ("execution_kind", "EXTERNAL"))
    },
    ("workflows/list_workflow_steps", "step_key"): "build",
    ("workflows/list_workflow_step_dependencies", "release_mode"): "ON_SUCCESS",
    ("workflows/read_prerequisites", "status"): "SUCCEEDED",
    ("workflows/find_workflow_run_mutation", "request_json"): '{"steps":[]}',
}
# What makes an operation end with a refusal, for what is read only then.
_VALUES_WHEN_REFUSING: Mapping[tuple[str, str], object] = {("jobs/enqueue_keyed_jobs", "answer"): "UNDEFINED"}
# The same statement is sent until its answer leaves nothing to do.
_LAST_VALUES: Mapping[tuple[str, str], object] = {("workflows/end_workflow_steps", "canceled_step_ids"): []}
# A row of it ends the operation, so it comes only where the rest of the operation is not looked at.
_ROWS_ONLY_WHEN_REFUSING = {"workflows/find_workflow_run_mutation"}
_VALUES_OF_TYPES: Mapping[str, object] = {
    "bigint": 1,
    "boolean": True,
    "double precision": 1.5,
    "integer": 1,
    "numeric": Decimal("12.50"),
    # A text is often JSON that gets decoded, and this one is both.
    "text": "1",
    "timestamp with time zone": datetime(2026, 5, 26, 12, 0, tzinfo=UTC),
    "uuid": JOB_ID,
}


def _locked_definitions(document: Mapping[str, Any]) -> list[dict[str, object]]:
    return [{"job_type": job_type} for job_type in document["job_types"]]


def _locked_schedules(document: Mapping[str, Any]) -> list[dict[str, object]]:
    """Answer for schedules whose names say what they are."""
    return [
        {
            "name": name,
            "schedule_id": None if name == "new" else JOB_ID,
            "owner": "catalog" if name == "catalog's" else "operator",
            "catalog_scope": "shop" if name == "catalog's" else None,
            "is_active": name != "paused",
        }
        for name in document["names"]
    ]


def _catalog_definitions(document: Mapping[str, Any]) -> list[dict[str, object]]:
    """Answer with one that is declared again, and one that is not declared any more."""
    scope = document["catalog_scope"]
    declared: dict[str, object] = {"job_type": document["job_types"][0], "catalog_scope": scope, "is_enabled": False}
    return [declared, {"job_type": "gone", "catalog_scope": scope, "is_absent": False}]


def _inserted_schedules(document: Mapping[str, Any]) -> list[dict[str, object]]:
    return [{"name": schedule["name"]} for schedule in document["schedules"]]


def _due_schedules(_document: Mapping[str, Any]) -> list[dict[str, object]]:
    """Answer with one that goes on and one that ends at this instant."""
    ending: dict[str, object] = {
        "schedule_id": OTHER_ID,
        "cron_expr": "0 0 12 26 5 ? 2026",
        "overlap": "skip",
        "last_job_id": OTHER_ID,
    }
    return [{}, ending]


def _expired_leases(_document: Mapping[str, Any]) -> list[dict[str, object]]:
    """Answer with one whose run is free, and one whose run somebody else has."""
    return [{}, {"workflow_run_id": OTHER_ID}]


def _fired_schedules(_document: Mapping[str, Any]) -> list[dict[str, object]]:
    return [{}, {"schedule_id": OTHER_ID, "is_fired": False}]


# Rows that have to fit to what was asked, or that have to be more than one: what differs from the usual values.
_ROWS_OF_FILES: Mapping[str, Callable[[Mapping[str, Any]], list[dict[str, object]]]] = {
    "definitions/list_catalog_definitions": _catalog_definitions,
    "definitions/lock_definitions": _locked_definitions,
    "schedules/lock_schedules": _locked_schedules,
    "schedules/insert_schedules": _inserted_schedules,
    "schedules/claim_due_schedules": _due_schedules,
    "schedules/fire_schedules": _fired_schedules,
    "jobs/list_expired_leases": _expired_leases,
    # That no active schedule needs a type which was disabled.
    "definitions/list_types_in_active_schedules": lambda _document: [],
}


class RecordingRow(Mapping[str, Any]):
    """A row that remembers which of its columns were read."""

    def __init__(self, file: str, columns: Mapping[str, str], values: Mapping[str, object], *, is_again: bool) -> None:
        self._values = {
            column: _value(file, column, type_name, is_again=is_again) for column, type_name in columns.items()
        } | dict(values)
        self.read_columns: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read_columns.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _value(file: str, column: str, type_name: str, *, is_again: bool) -> object:
    if is_again and (file, column) in _LAST_VALUES:
        return _LAST_VALUES[file, column]
    if (file, column) in _VALUES_IN_FILES:
        return _VALUES_IN_FILES[file, column]
    if (column, type_name) in _VALUES_OF_COLUMNS:
        return _VALUES_OF_COLUMNS[column, type_name]
    return _VALUES_OF_TYPES[type_name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One statement of a file that an operation sent, and the rows it was answered with.

    Attributes:
        file: The file, ``<area>/<name>``.
        document_fields: Paths of the fields it sent, written as in the lock.
        rows: The rows, which know what was read of them.
    """

    file: str
    document_fields: set[str]
    rows: Sequence[RecordingRow]


def drive(operation: Operation[Any], lock: Lock, *, refuse_guarded: bool) -> list[Exchange]:
    """Run an operation and return its exchanges; texts that are no files are answered with no row.

    Args:
        operation: What to run.
        lock: Names the columns of the rows.
        refuse_guarded: Guarded statements fail instead of giving a row.
    """
    exchanges: list[Exchange] = []
    sent: list[Statement] = []
    steps = operation.begin()
    try:
        statement = next(steps)
        while True:
            sent.append(statement)
            rows = _answer(statement, lock, exchanges, refuse_guarded=refuse_guarded)
            if statement.is_guarded and refuse_guarded:
                statement = steps.throw(refusal(QueryErrorCategory.INTERNAL, "db.query_failed", "refused"))
            else:
                statement = steps.send(rows)
    except (StopIteration, SchemaCompatibilityError):
        pass  # what the rows say of the schema is made up, and may be refused
    except QueryError:
        if not refuse_guarded:
            raise
    # In autocommit a second statement would be a transaction of its own, unless it opens one.
    assert not any(statement.is_only or statement.is_first_part for statement in sent[1:]), operation.name
    assert len(sent) == 1 or not sent[0].is_only, operation.name
    assert len(sent) == 1 or not sent[0].is_first_part or sent[1].opens_part, operation.name
    return exchanges


def _answer(
    statement: Statement, lock: Lock, exchanges: list[Exchange], *, refuse_guarded: bool
) -> Sequence[RecordingRow]:
    if not isinstance(statement.sql, SqlFile):
        assert statement.document is None, "only a file takes a document"
        return []
    assert statement.document is not None
    file = f"{statement.sql.area}/{statement.sql.name}"
    document = json.loads(statement.document)
    is_again = any(exchange.file == file for exchange in exchanges)
    rows = [
        RecordingRow(
            file, lock[file].columns, _refusing(file, refuse_guarded=refuse_guarded) | values, is_again=is_again
        )
        for values in (_ROWS_OF_FILES[file](document) if file in _ROWS_OF_FILES else [{}])
    ]
    exchanges.append(Exchange(file=file, document_fields=_paths(document), rows=rows))
    return [] if file in _ROWS_ONLY_WHEN_REFUSING and not refuse_guarded else rows


def _refusing(file: str, *, refuse_guarded: bool) -> dict[str, object]:
    if not refuse_guarded:
        return {}
    return {column: value for (of_file, column), value in _VALUES_WHEN_REFUSING.items() if of_file == file}


def _paths(document: dict[str, object]) -> set[str]:
    paths: set[str] = set()
    for name, value in document.items():
        if isinstance(value, list):
            items = cast("list[object]", value)
            assert items, f"{name}: a case sends a list with items"
            for item in items:
                paths |= {f"{name}[].{member}" for member in _members(item)} or {f"{name}[]"}
        elif isinstance(value, dict) and all(_is_uuid(key) for key in cast("dict[str, object]", value)):
            for item in cast("dict[str, object]", value).values():
                paths |= {f"{name}.*.{member}" for member in _members(item)}
        else:
            paths.add(name)
    return paths


def _members(item: object) -> set[str]:
    return set(cast("dict[str, object]", item)) if isinstance(item, dict) else set()


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
