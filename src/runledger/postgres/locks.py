"""Waiting for the lock of a job, and for how long, as parts of operations."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from runledger.postgres.document import encode_document, milliseconds
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.sql_files import SqlFile

_LOCK_JOB = SqlFile("jobs", "lock_job")
_SET_LOCK_TIMEOUT = SqlFile("connection", "set_local_lock_timeout")


def lock_job(job_id: UUID, *, lock_timeout: timedelta | None = None) -> Steps[None]:
    """Wait for the lock of one job row, as a part of an operation that must have this job.

    Args:
        job_id: The job; a missing row is no error here, the fence that follows notices.
        lock_timeout: Bound on this and the later waits of the transaction; ``None`` leaves the setting alone.
    """
    if lock_timeout is not None:
        yield from set_lock_timeout(lock_timeout)
    yield Statement(sql=_LOCK_JOB, document=encode_document(job_id=job_id))


def set_lock_timeout(lock_timeout: timedelta) -> Steps[None]:
    """Bound this and the later waits for locks of the transaction."""
    yield Statement(sql=_SET_LOCK_TIMEOUT, document=encode_document(lock_timeout_ms=milliseconds(lock_timeout)))
