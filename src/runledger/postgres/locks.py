"""Waiting for the lock of a job, and for how long, as parts of operations."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.postgres.document import check_duration, encode_document, milliseconds
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.sql_files import SqlFile

_LOCK_JOB = SqlFile("jobs", "lock_job")
_SHORTEST_LOCK_TIMEOUT = timedelta(milliseconds=1)
_LONGEST_LOCK_TIMEOUT = timedelta(days=24)

_SET_LOCK_TIMEOUT = SqlFile("connection", "set_local_lock_timeout")
_RESTORE_LOCK_TIMEOUT = SqlFile("connection", "restore_lock_timeout")


def lock_job(job_id: UUID, *, lock_timeout: timedelta | None = None) -> Steps[None]:
    """Wait for the lock of one job row, as a part of an operation that must have this job.

    Args:
        job_id: The job; a missing row is no error here, the fence that follows notices.
        lock_timeout: Bound on this and the later waits of the transaction; ``None`` leaves the setting alone.
    """
    if lock_timeout is not None:
        yield from set_lock_timeout(lock_timeout)
    yield Statement(sql=_LOCK_JOB, document=encode_document(job_id=job_id))


def set_lock_timeout(lock_timeout: timedelta) -> Steps[str]:
    """Bound this and the later waits for locks of the transaction, and return the former setting.

    A shorter bound that the transaction has stays.

    Raises:
        InvalidArgumentError: PostgreSQL knows no such bound.
    """
    check_lock_timeout("lock_timeout", lock_timeout)
    rows = yield Statement(sql=_SET_LOCK_TIMEOUT, document=encode_document(lock_timeout_ms=milliseconds(lock_timeout)))
    former: str = rows[0]["former"]
    return former


def restore_lock_timeout(former: str) -> Steps[None]:
    """Put back what :func:`set_lock_timeout` has returned: the transaction may be the caller's, and go on."""
    yield Statement(sql=_RESTORE_LOCK_TIMEOUT, document=encode_document(lock_timeout=former))


def check_lock_timeout(field: str, lock_timeout: timedelta) -> None:
    """Refuse what PostgreSQL cannot take as the bound on a wait.

    Args:
        field: The name that errors give to it.
        lock_timeout: The bound.

    Raises:
        InvalidArgumentError: The value is no duration, or too short or too long.
    """
    check_duration(field, lock_timeout)
    if not _SHORTEST_LOCK_TIMEOUT <= lock_timeout <= _LONGEST_LOCK_TIMEOUT:
        # Of less than a millisecond none would be left, and zero means that there is no bound.
        problem = "is too long" if lock_timeout > _LONGEST_LOCK_TIMEOUT else "is too short"
        raise InvalidArgumentError(field, problem, "pass a millisecond to 24 days")
