"""Fail: the holder of a lease reports a failure, which becomes a retry or a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.status import JobFailureKind
from runledger.postgres.document import check_duration, check_now, json_text, keyed_document, retry_delay_milliseconds
from runledger.postgres.jobs.lease import run_on_locked_job
from runledger.postgres.operation import Rows, Statement, Steps, operation
from runledger.postgres.sql_errors import lease_owner_mismatch
from runledger.postgres.sql_files import SqlFile

_FAIL = SqlFile("jobs", "fail_jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailure:
    """The failure of one attempt.

    Attributes:
        lease: Who reports it.
        kind: TERMINAL and PANICKED dead-letter at once; the others while no attempt is left.
        error_code: Short stable text.
        error_message: Text for people; cleaned and cut to what the database stores.
        retry_delay: Time until a retry; negative counts as none, a dead letter ignores it.
    """

    lease: LeaseIdentity
    kind: JobFailureKind
    error_code: str
    error_message: str = field(repr=False)
    retry_delay: timedelta = timedelta()


@operation("jobs.fail_jobs")
def fail_jobs(
    worker_id: str, failures: Sequence[AttemptFailure], *, now: datetime | None = None
) -> Steps[dict[UUID, bool]]:
    """Record many failures of one worker.

    Returns:
        For each job recorded, whether it is a dead letter now. The others are held no longer, or locked by another
        transaction: :func:`~runledger.postgres.jobs.lease.read_held_leases` tells which.
    """
    if not failures:
        return {}
    check_now(now)
    document = keyed_document(worker_id, [_member(failure) for failure in failures], now=now)
    rows = yield Statement(sql=_FAIL, document=document, is_only=True)
    return _outcomes(rows)


@operation("jobs.fail_job")
def fail_job(
    failure: AttemptFailure, *, lock_timeout: timedelta | None = None, now: datetime | None = None
) -> Steps[bool]:
    """Record one failure, waiting for the job's row lock; the expiry is judged after it.

    Args:
        failure: The lease and what went wrong.
        lock_timeout: Bound on the wait; ``None`` leaves the transaction's setting alone.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        Whether the job is a dead letter now.

    Raises:
        QueryError: ``job.lease_owner_mismatch``; nothing was written.
    """
    check_duration("retry_delay", failure.retry_delay)
    check_now(now)
    lease = failure.lease
    fail = Statement(sql=_FAIL, document=keyed_document(lease.worker_id, [_member(failure)], now=now))
    rows = yield from run_on_locked_job(fail, lease.job_id, lock_timeout=lock_timeout)
    if not rows:
        raise lease_owner_mismatch("jobs.fail_job")
    return _outcomes(rows)[lease.job_id]


def _member(failure: AttemptFailure) -> str:
    lease = failure.lease
    delay_ms = retry_delay_milliseconds(failure.retry_delay)
    return (
        f'"{lease.job_id}":{{"run_number":{lease.run_number},"attempt":{lease.attempt},"kind":"{failure.kind.value}",'
        f'"error_code":{json_text(clean_error_text(failure.error_code))},'
        f'"error_message":{json_text(clean_error_text(failure.error_message))},"retry_delay_ms":{delay_ms}}}'
    )


def _outcomes(rows: Rows) -> dict[UUID, bool]:
    return {row["job_id"]: row["is_dead_letter"] for row in rows}
