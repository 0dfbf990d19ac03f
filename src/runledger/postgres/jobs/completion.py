"""Complete: the holder of a lease reports success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.jobs.records import LeaseIdentity
from runledger.core.scope import Admin
from runledger.postgres.document import check_now, keyed_document, milliseconds
from runledger.postgres.jobs.workflow_jobs import jobs_by_run, run_of, steps_of
from runledger.postgres.locks import check_lock_timeout, lock_job
from runledger.postgres.notices import Notices
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_errors import lease_owner_mismatch
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.advance import (
    TERMINAL_COMPLETION_ISOLATION,
    end_job_steps,
    end_jobs_of_workflows,
)
from runledger.postgres.workflows.run_lock import BRIEF_LOCK_TIMEOUT, lock_run

_COMPLETE = SqlFile("jobs", "complete_jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSuccess:
    """The success of one attempt.

    Attributes:
        lease: The lease of the worker that reports it.
        output_json: JSON text to keep as the job's output; ``None`` keeps nothing.
        workflow_run_id: The run of the workflow whose step the job carries out, as its claim has told; ``None`` where
            that is not known, or there is none.
    """

    lease: LeaseIdentity
    output_json: str | None = field(default=None, repr=False)
    workflow_run_id: UUID | None = None


@operation("jobs.complete_jobs")
def complete_jobs(
    worker_id: str,
    successes: Sequence[JobSuccess],
    *,
    are_plain: bool = False,
    run_wait: timedelta = BRIEF_LOCK_TIMEOUT,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[set[UUID]]:
    """Complete many jobs of one worker: SUCCEEDED, attempt closed, one event each.

    A job that carries out the step of a workflow ends its step in the same transaction, and releases or cancels what
    waited for it. On a pool such jobs have transactions of their own, up to 64 runs each, after that of the others. In
    a transaction of the caller an error leaves nothing of the call behind.

    Args:
        worker_id: The worker that held the leases.
        successes: The successes to report.
        are_plain: Those without a run belong to no workflow, as their claim has told; one that does is left alone.
        run_wait: How long to wait for each run that another transaction is changing; zero leaves such runs alone.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        The ids that were completed. The others are held no longer, or they or their run are locked by another
        transaction: :func:`~runledger.postgres.jobs.lease.read_held_leases` tells which.
    """
    if run_wait != timedelta():
        check_lock_timeout("run_wait", run_wait)
    check_now(now)
    completed: set[UUID] = set()
    of_workflows: dict[UUID, list[JobSuccess]] = {}
    for success in successes:
        if success.workflow_run_id is not None:
            of_workflows.setdefault(success.workflow_run_id, []).append(success)
    others = [success for success in successes if success.workflow_run_id is None] if of_workflows else successes
    if others:
        document = _document(worker_id, others, now=now, finds_runs=None if are_plain else True)
        # What is known to be plain is one statement for certain, and needs no savepoint in a caller's transaction.
        is_alone = are_plain and not of_workflows
        rows = yield Statement(sql=_COMPLETE, document=document, is_only=is_alone, is_first_part=not is_alone)
        completed.update(row["job_id"] for row in rows if row["workflow_run_id"] is None)
        found = jobs_by_run(rows, {success.lease.job_id: success for success in others})
        for run_id, of_run in found.items():
            of_workflows.setdefault(run_id, []).extend(of_run)

    def complete(of_runs: Sequence[JobSuccess]) -> Steps[list[UUID]]:
        rows = yield Statement(sql=_COMPLETE, document=_document(worker_id, of_runs, now=now, ends_steps=True))
        completed.update(row["job_id"] for row in rows)
        return steps_of(rows)

    yield from end_jobs_of_workflows(of_workflows, complete, run_wait=run_wait, notices=notices, now=now)
    return completed


@operation("jobs.complete_job")
def complete_job(
    success: JobSuccess,
    *,
    lock_timeout: timedelta | None = None,
    idle_timeout: timedelta | None = None,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[None]:
    """Complete one job, waiting for its row lock; the expiry is judged after it.

    The step of a workflow ends with its job, as by :func:`complete_jobs`.

    Args:
        success: The lease and the output.
        lock_timeout: Bound on the wait; ``None`` leaves the transaction's setting alone.
        idle_timeout: How long the session may be silent from here to its COMMIT; then the server ends it, so that a
            client which is gone does not keep the job locked. ``None`` leaves the transaction's setting alone.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: Nothing was written: ``job.lease_owner_mismatch``. For the step of a workflow also
            ``workflow.release_conflict``, when another transaction kept its run locked for five seconds, and
            ``workflow.terminal_completion_unsupported_isolation`` above READ COMMITTED.
    """
    check_now(now)
    lease = success.lease
    idle_timeout_ms = None if idle_timeout is None else milliseconds(idle_timeout)

    def complete(**fields: bool | None) -> Statement:
        document = _document(lease.worker_id, [success], now=now, idle_timeout_ms=idle_timeout_ms, **fields)
        return Statement(sql=_COMPLETE, document=document)

    rows = yield complete(finds_runs=True)
    run_id = run_of(rows)
    ends_steps = None if run_id is None else True
    if run_id is not None:
        # The run first, and nothing is locked yet.
        yield from lock_run(run_id, scope=Admin(), isolation_code=TERMINAL_COMPLETION_ISOLATION)
        rows = yield complete(ends_steps=ends_steps)
    if not rows:
        yield from lock_job(lease.job_id, lock_timeout=lock_timeout)
        rows = yield complete(ends_steps=ends_steps)
    if not rows:
        raise lease_owner_mismatch("jobs.complete_job")
    # None when the run was deleted meanwhile: the job is a plain one then.
    ended = steps_of(rows)
    if ended:
        yield from end_job_steps(ended, notices=notices, now=now)


def _document(
    worker_id: str, successes: Sequence[JobSuccess], *, now: datetime | None, **fields: bool | int | None
) -> str:
    return keyed_document(worker_id, [_member(success) for success in successes], now=now, **fields)


def _member(success: JobSuccess) -> str:
    lease = success.lease
    output = "" if success.output_json is None else f',"output":{success.output_json}'
    return f'"{lease.job_id}":{{"run_number":{lease.run_number},"attempt":{lease.attempt}{output}}}'
