"""Documents: the one JSON parameter of every statement."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from json.encoder import encode_basestring
from typing import Any
from uuid import UUID

from runledger.core.database_text import check_text
from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.setting_checks import INT64_MAX
from runledger.core.scope import Admin, Global, Organization, Scope
from runledger.core.workers import WorkerIdentity

MAX_BATCH_ROWS = 1_000
"""Rows a document holds at most."""

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Size of a document at most, unless one row alone is larger."""

Scalar = None | bool | int | str | datetime | UUID

_ONE_MILLISECOND = timedelta(milliseconds=1)
_MAX_RETRY_DELAY_MS = 2**31 - 1


def encode_document(**fields: Scalar | list[str]) -> str:
    """Return a document of scalars and lists of text. Fields that are ``None`` are left out: absent means not given."""
    return json.dumps(
        {name: value for name, value in fields.items() if value is not None}, ensure_ascii=False, default=_encode_scalar
    )


def json_text(text: str) -> str:
    """Return a text as a JSON string."""
    return encode_basestring(text)


def lease_document(
    worker_id: str, leases: Iterable[LeaseIdentity], *, now: datetime | None = None, **fields: Scalar | list[str]
) -> str:
    """Return a document about leases of one worker, keyed by job id as the fenced statements expect."""
    return keyed_document(
        worker_id,
        [f'"{lease.job_id}":{{"run_number":{lease.run_number},"attempt":{lease.attempt}}}' for lease in leases],
        now=now,
        **fields,
    )


def keyed_document(
    worker_id: str, members: list[str], *, now: datetime | None = None, **fields: Scalar | list[str]
) -> str:
    """Return a document whose ``jobs`` object consists of members that are JSON texts already."""
    head = encode_document(worker_id=worker_id, now=now, **fields)
    return f'{head[:-1]},"jobs":{{{",".join(members)}}}}}'


def job_document(job_id: UUID, *, scope: Scope, **fields: Scalar) -> str:
    """Return the document of a statement about one job, if the scope has it.

    Raises:
        InvalidArgumentError: The job id is no UUID, or the scope is none.
    """
    check_uuid("job_id", job_id)
    return encode_document(job_id=job_id, **scope_fields(scope), **fields)


def run_document(run_id: UUID, *, scope: Scope, **fields: Scalar | list[str]) -> str:
    """Return the document of a statement about one run of a workflow, if the scope has it.

    Raises:
        InvalidArgumentError: The run id is no UUID, or the scope is none.
    """
    check_uuid("run_id", run_id)
    return encode_document(run_id=run_id, **scope_fields(scope), **fields)


def scope_fields(scope: Scope) -> dict[str, Scalar]:
    """Return the fields that tell a reading statement whose rows it may see.

    Raises:
        InvalidArgumentError: The value is no scope.
    """
    match scope:
        case Admin():
            return {"scope": "any"}
        case Global():
            return {"scope": "global"}
        case Organization(organization_id):
            return {"scope": "organization", "organization_id": organization_id}
        case _:
            raise InvalidArgumentError(
                "scope", f"is of type {type(scope).__name__}", "pass Global(), Organization(id) or Admin()"
            )


def worker_fields(worker: WorkerIdentity) -> dict[str, Any]:
    """Return the fields that tell who a worker is."""
    return {
        "worker_id": worker.worker_id,
        "instance_id": worker.instance_id,
        "hostname": worker.hostname,
        "process_id": worker.process_id,
        "version": worker.version,
        "job_types": list(worker.job_types),
        "slots": worker.slots,
    }


def milliseconds(duration: timedelta) -> int:
    """Return a duration in whole milliseconds, rounded down."""
    return duration // _ONE_MILLISECOND


def retry_delay_milliseconds(delay: timedelta) -> int:
    """Return a retry delay as its column holds it: at least zero, and at most 24 days."""
    # Rounded up: a delay was asked for, so it must not become none.
    return min(max(-milliseconds(-delay), 0), _MAX_RETRY_DELAY_MS)


def text_filters(**filters: str | None) -> dict[str, Scalar]:
    """Return the texts that choose rows as fields of a document, by the names of the arguments; ``None`` chooses all.

    PostgreSQL would refuse some of them as well, and the transaction of the caller would be lost.

    Raises:
        InvalidArgumentError: One is no text, or one that PostgreSQL cannot hold.
    """
    for field, text in filters.items():
        if text is not None:
            check_text(field, text)
    return {**filters}


def check_uuid(field: str, value: UUID) -> None:
    """Refuse what is no UUID; a text that merely looks like one is refused too.

    Raises:
        InvalidArgumentError: The value is something else.
    """
    if not isinstance(value, UUID):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass a uuid.UUID")


def stored_error_text(field: str, text: str | None) -> str | None:
    """Return a text about an error as it is stored: cleaned, and cut to what the database takes.

    Raises:
        InvalidArgumentError: The value is no text.
    """
    if text is None:
        return None
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(field, f"is of type {type(text).__name__}", "pass a str or None")
    return clean_error_text(text)


def check_limit(limit: int, *, field: str = "limit") -> None:
    """Refuse a number of rows that is not positive.

    Raises:
        InvalidArgumentError: The limit is zero or negative, too large, or no integer.
    """
    _check_bigint(field, limit)
    if limit < 1:
        raise InvalidArgumentError(field, "is not a positive integer", "ask for at least one row")


def check_cursor(field: str, cursor: int) -> None:
    """Refuse an id to go on after that is negative.

    Raises:
        InvalidArgumentError: The value is too small, too large, or no integer.
    """
    _check_bigint(field, cursor)
    if cursor < 0:
        raise InvalidArgumentError(field, "is negative", "start at 0, go on with the last id seen")


def check_offset(offset: int) -> None:
    """Refuse a number of rows to skip that is negative.

    Raises:
        InvalidArgumentError: The value is too small, too large, or no integer.
    """
    _check_bigint("offset", offset)
    if offset < 0:
        raise InvalidArgumentError("offset", "is negative", "start at 0")


def check_duration(field: str, duration: timedelta) -> None:
    """Refuse what is no duration, such as a number, whose unit nobody knows.

    Raises:
        InvalidArgumentError: The value is something else.
    """
    if not isinstance(duration, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(field, f"is of type {type(duration).__name__}", "pass a datetime.timedelta")


def check_now(now: datetime | None) -> None:
    """Refuse an instant without a time zone.

    Raises:
        InvalidArgumentError: ``now`` is naive.
    """
    if now is not None and now.tzinfo is None:
        raise InvalidArgumentError("now", "has no time zone", "pass an aware datetime, such as datetime.now(UTC)")


def _check_bigint(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass an int")
    if value > INT64_MAX:
        raise InvalidArgumentError(field, "is out of range", f"pass at most {INT64_MAX}")


def _encode_scalar(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)
