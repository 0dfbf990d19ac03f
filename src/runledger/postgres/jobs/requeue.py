"""Requeue: start a finished job over, as a new run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.records import JobRecord
from runledger.core.jobs.requeue_outcome import (
    CancellationNotQuiesced,
    ExpectationMismatch,
    Requeued,
    RequeueOutcome,
)
from runledger.core.jobs.setting_checks import check_int32, check_reason
from runledger.core.jobs.status import JobStatus
from runledger.core.scope import Scope
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.jobs.locking import LockedJob, invalid_state_transition, lock_job_in_scope, read_changed_job
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_errors import QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_REQUEUE = SqlFile("jobs", "requeue_job")


@operation("jobs.requeue_job")
def requeue_job(
    job_id: UUID,
    *,
    scope: Scope,
    reason: str | None = None,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[JobRecord]:
    """Start a SUCCEEDED, DEAD_LETTERED or CANCELED job over and return it. Waits for the row lock.

    It is PENDING and due at once, in a new run without attempts, progress, checkpoint and output. Payload, settings and
    idempotency key stay, and so does the dead letter. The handler of a job that was canceled just now may still be
    running; :func:`compare_and_requeue_job` waits for its end.

    Args:
        job_id: The job.
        scope: Whose jobs may be requeued.
        reason: Kept as the job's status reason and in the REQUEUED event; ``REQUEUED`` when not given.
        notices: How workers are told that it is due; nobody is when not given.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: ``job.not_found``: there is none in the scope. ``job.workflow_requeue_not_supported``: it belongs to
            a workflow. ``job.invalid_state_transition``: it has not ended. Nothing was written.
    """
    _check(reason, now)
    name = "jobs.requeue_job"
    locked = yield from lock_job_in_scope(job_id, scope=scope, operation_name=name, now=now)
    _refuse_workflow_job(locked, name)
    requeue = _Requeue(
        operation_name=name,
        job_id=job_id,
        scope=scope,
        reason=reason,
        keeps_progress=False,
        notices=notices,
        now=now,
    )
    return (yield from requeue.steps(locked))


@operation("jobs.compare_and_requeue_job")
def compare_and_requeue_job(
    job_id: UUID,
    *,
    scope: Scope,
    expected_status: JobStatus,
    expected_run_number: int,
    reason: str | None = None,
    keeps_progress: bool = False,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[RequeueOutcome]:
    """Requeue a job if it still is what the caller saw, and if no handler of a canceled lease may still be running.

    Two people who look at the same dead letter and requeue it start one new run, not two.

    Args:
        job_id: The job.
        scope: Whose jobs may be requeued.
        expected_status: The status that the caller saw; one of those that end a run.
        expected_run_number: The run that the caller saw.
        reason: Kept as the job's status reason and in the REQUEUED event; ``REQUEUED`` when not given.
        keeps_progress: Whether the new run starts with the counts and the checkpoint of the old one.
        notices: How workers are told that it is due; nobody is when not given.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        What was done, or why nothing was.

    Raises:
        QueryError: ``job.not_found`` or ``job.workflow_requeue_not_supported``. Nothing was written.
        InvalidArgumentError: The expected status is none that a job can be requeued from.
    """
    _check(reason, now)
    if not isinstance(expected_status, JobStatus):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            "expected_status", f"is of type {type(expected_status).__name__}", "pass a JobStatus"
        )
    if not expected_status.is_terminal:
        raise InvalidArgumentError("expected_status", "does not end a run", "pass SUCCEEDED, DEAD_LETTERED or CANCELED")
    check_int32("expected_run_number", expected_run_number, minimum=1)
    name = "jobs.compare_and_requeue_job"
    locked = yield from lock_job_in_scope(job_id, scope=scope, operation_name=name, now=now)
    _refuse_workflow_job(locked, name)
    if (locked.status, locked.run_number) != (expected_status, expected_run_number):
        return ExpectationMismatch(status=locked.status, run_number=locked.run_number)
    if locked.canceled_lease_left > timedelta():
        return CancellationNotQuiesced(retry_after=locked.canceled_lease_left)
    requeue = _Requeue(
        operation_name=name,
        job_id=job_id,
        scope=scope,
        reason=reason,
        keeps_progress=keeps_progress,
        notices=notices,
        now=now,
    )
    return Requeued(job=(yield from requeue.steps(locked)))


def _check(reason: str | None, now: datetime | None) -> None:
    if reason is not None:
        check_reason("reason", reason)
    check_now(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requeue:
    """What both operations have in common, once the job is locked and judged."""

    operation_name: str
    job_id: UUID
    scope: Scope
    reason: str | None
    keeps_progress: bool
    notices: Notices | None
    now: datetime | None

    def steps(self, locked: LockedJob) -> Steps[JobRecord]:
        document = encode_document(
            job_id=self.job_id,
            reason=self.reason,
            keeps_progress=self.keeps_progress,
            notifies=sends_inside(self.notices),
            now=self.now,
        )
        rows = yield Statement(sql=_REQUEUE, document=document)
        if not rows:
            raise invalid_state_transition(self.operation_name, locked.status, "can be requeued once it has ended")
        if self.notices is not None:
            self.notices.take(rows[0])
        return (yield from read_changed_job(self.job_id, scope=self.scope))


def _refuse_workflow_job(locked: LockedJob, operation_name: str) -> None:
    if locked.is_workflow_managed:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job.workflow_requeue_not_supported",
            "a job that belongs to a workflow cannot be requeued by itself; enqueue the workflow again, as a new run",
            internal=f"{operation_name}: the job has a workflow step",
        )
