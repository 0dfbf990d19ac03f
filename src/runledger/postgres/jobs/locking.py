"""Take the lock of one job that a caller names, within the caller's scope; what cancel and requeue begin with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.jobs.records import JobRecord
from runledger.core.jobs.status import JobStatus
from runledger.core.scope import Scope
from runledger.postgres.asked_scope import describe_asked_scope
from runledger.postgres.document import job_document
from runledger.postgres.jobs.reads import read_job
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.row_decoding import decode_job_status
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_LOCK = SqlFile("jobs", "lock_job_in_scope")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedJob:
    """What a job is while its lock is held.

    Attributes:
        status: Its status.
        run_number: The run of the job.
        is_workflow_managed: Whether it belongs to a workflow.
        canceled_lease_left: How long the handler of a canceled lease may still run; zero or less when it is over.
    """

    status: JobStatus
    run_number: int
    is_workflow_managed: bool
    canceled_lease_left: timedelta


def lock_job_in_scope(job_id: UUID, *, scope: Scope, operation_name: str, now: datetime | None) -> Steps[LockedJob]:
    """Wait for the lock of a job, as the first part of an operation on it.

    Raises:
        QueryError: ``job.not_found``: there is none in the scope. Nothing was locked.
    """
    rows = yield Statement(sql=_LOCK, document=job_document(job_id, scope=scope, now=now))
    if not rows:
        raise _not_found(operation_name, scope)
    row = rows[0]
    expiry: datetime | None = row["canceled_lease_expires_at"]
    return LockedJob(
        status=decode_job_status(row["status"]),
        run_number=row["run_number"],
        is_workflow_managed=row["is_workflow_managed"],
        canceled_lease_left=timedelta() if expiry is None else expiry - row["at"],
    )


def read_changed_job(job_id: UUID, *, scope: Scope) -> Steps[JobRecord]:
    """Return the job as the operation has left it."""
    job = yield from read_job(job_id, scope=scope)
    assert job is not None  # noqa: S101 (its row is locked by this transaction)
    return job


def invalid_state_transition(operation_name: str, status: JobStatus, rule: str) -> QueryError:
    """Return the error of a job that is not in a status from which the operation leads on."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        "job.invalid_state_transition",
        f"the job is {status.value}; it {rule}",
        internal=f"{operation_name}: no transition from {status.value}",
    )


def _not_found(operation_name: str, scope: Scope) -> QueryError:
    return refusal(
        QueryErrorCategory.VALIDATION,
        "job.not_found",
        f"there is no such job{describe_asked_scope(scope, 'job')}",
        internal=f"{operation_name}: no row with this id in the scope",
    )
