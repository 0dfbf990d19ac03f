"""Reads: a job and its history."""

from __future__ import annotations

from uuid import UUID

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.records import JobAttempt, JobDeadLetter, JobEvent, JobRecord
from runledger.core.jobs.setting_checks import check_idempotency_key
from runledger.core.scope import Admin, Scope
from runledger.postgres.document import check_cursor, check_limit, encode_document, job_document, scope_fields
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_attempt, decode_dead_letter, decode_event, decode_job
from runledger.postgres.sql_files import SqlFile

_FIND_BY_KEY = SqlFile("jobs", "find_job_by_idempotency_key")
_GET_JOB = SqlFile("jobs", "get_job")
_LIST_EVENTS = SqlFile("jobs", "list_job_events")
_LIST_ATTEMPTS = SqlFile("jobs", "list_job_attempts")
_GET_DEAD_LETTER = SqlFile("jobs", "get_dead_letter")


@operation("jobs.get_job")
def get_job(job_id: UUID, *, scope: Scope) -> Steps[JobRecord | None]:
    """Return a job, or ``None`` when there is none in the scope."""
    return (yield from read_job(job_id, scope=scope, is_only=True))


@operation("jobs.get_job_by_idempotency_key")
def get_job_by_idempotency_key(job_type: str, idempotency_key: str, *, scope: Scope) -> Steps[JobRecord | None]:
    """Return the job that was enqueued with a key, or ``None``.

    Args:
        job_type: The type it was enqueued with.
        idempotency_key: The key.
        scope: Whose key it is: each organization has its own keys, and the global scope has others.

    Raises:
        InvalidArgumentError: The scope is ``Admin()``, which has no keys of its own.
    """
    if isinstance(scope, Admin):
        raise InvalidArgumentError("scope", "has no idempotency keys of its own", "pass Global() or Organization(id)")
    check_identifier(job_type, field="job_type", blank_error=BlankJobTypeError)
    check_idempotency_key(idempotency_key)
    document = encode_document(job_type=job_type, idempotency_key=idempotency_key, **scope_fields(scope))
    rows = yield Statement(sql=_FIND_BY_KEY, document=document)
    return (yield from read_job(rows[0]["job_id"], scope=scope)) if rows else None


@operation("jobs.list_job_events")
def list_job_events(job_id: UUID, *, scope: Scope, limit: int = 1_000, after_id: int = 0) -> Steps[list[JobEvent]]:
    """Return events of a job, oldest first.

    Args:
        job_id: The job; one outside the scope has no events.
        scope: Whose rows may be seen.
        limit: The most events to return.
        after_id: Only events after this one; the id of the last event seen turns the page.
    """
    check_limit(limit)
    check_cursor("after_id", after_id)
    document = job_document(job_id, scope=scope, limit=limit, after_id=after_id)
    rows = yield Statement(sql=_LIST_EVENTS, document=document, is_only=True)
    return [decode_event(row) for row in rows]


@operation("jobs.list_job_attempts")
def list_job_attempts(job_id: UUID, *, scope: Scope) -> Steps[list[JobAttempt]]:
    """Return all attempts of a job, of all its runs, in order."""
    document = job_document(job_id, scope=scope)
    rows = yield Statement(sql=_LIST_ATTEMPTS, document=document, is_only=True)
    return [decode_attempt(row) for row in rows]


@operation("jobs.get_dead_letter")
def get_dead_letter(job_id: UUID, *, scope: Scope) -> Steps[JobDeadLetter | None]:
    """Return the latest dead letter of a job, or ``None``. It survives a later requeue of the job."""
    document = job_document(job_id, scope=scope)
    rows = yield Statement(sql=_GET_DEAD_LETTER, document=document, is_only=True)
    return decode_dead_letter(rows[0]) if rows else None


def read_job(job_id: UUID, *, scope: Scope, is_only: bool = False) -> Steps[JobRecord | None]:
    """Read a job, as the last part of an operation that has changed it.

    Args:
        job_id: The job.
        scope: Whose rows may be seen.
        is_only: Whether the operation does nothing else.
    """
    document = job_document(job_id, scope=scope)
    rows = yield Statement(sql=_GET_JOB, document=document, is_only=is_only)
    return decode_job(rows[0]) if rows else None
