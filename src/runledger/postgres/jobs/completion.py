"""Complete: the holder of a lease reports success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.jobs.records import LeaseIdentity
from runledger.postgres.document import check_now, keyed_document, milliseconds
from runledger.postgres.jobs.lease import run_on_locked_job
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import job_ids
from runledger.postgres.sql_errors import lease_owner_mismatch
from runledger.postgres.sql_files import SqlFile

_COMPLETE = SqlFile("jobs", "complete_jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSuccess:
    """The success of one attempt.

    Attributes:
        lease: Who reports it.
        output_json: JSON text to keep as the job's output; ``None`` keeps nothing.
    """

    lease: LeaseIdentity
    output_json: str | None = field(default=None, repr=False)


@operation("jobs.complete_jobs")
def complete_jobs(worker_id: str, successes: Sequence[JobSuccess], *, now: datetime | None = None) -> Steps[set[UUID]]:
    """Complete many jobs of one worker: SUCCEEDED, attempt closed, one event each.

    Returns:
        The ids that were completed. The others are held no longer, or locked by another transaction:
        :func:`~runledger.postgres.jobs.lease.read_held_leases` tells which.
    """
    if not successes:
        return set()
    check_now(now)
    document = keyed_document(worker_id, [_member(success) for success in successes], now=now)
    rows = yield Statement(sql=_COMPLETE, document=document, is_only=True)
    return job_ids(rows)


@operation("jobs.complete_job")
def complete_job(
    success: JobSuccess,
    *,
    lock_timeout: timedelta | None = None,
    idle_timeout: timedelta | None = None,
    now: datetime | None = None,
) -> Steps[None]:
    """Complete one job, waiting for its row lock; the expiry is judged after it.

    Args:
        success: The lease and the output.
        lock_timeout: Bound on the wait; ``None`` leaves the transaction's setting alone.
        idle_timeout: How long the session may be silent from here to its COMMIT; then the server ends it, so that a
            client which is gone does not keep the job locked. ``None`` leaves the transaction's setting alone.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: ``job.lease_owner_mismatch``; nothing was written.
    """
    check_now(now)
    lease = success.lease
    idle_timeout_ms = None if idle_timeout is None else milliseconds(idle_timeout)
    document = keyed_document(lease.worker_id, [_member(success)], now=now, idle_timeout_ms=idle_timeout_ms)
    complete = Statement(sql=_COMPLETE, document=document)
    rows = yield from run_on_locked_job(complete, lease.job_id, lock_timeout=lock_timeout)
    if not rows:
        raise lease_owner_mismatch("jobs.complete_job")


def _member(success: JobSuccess) -> str:
    lease = success.lease
    output = "" if success.output_json is None else f',"output":{success.output_json}'
    return f'"{lease.job_id}":{{"run_number":{lease.run_number},"attempt":{lease.attempt}{output}}}'
