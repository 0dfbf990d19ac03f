"""Fail: the holder of a lease reports a failure, which becomes a retry or a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.status import JobFailureKind
from runledger.core.scope import Admin
from runledger.postgres.document import check_duration, check_now, json_text, keyed_document, retry_delay_milliseconds
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

_FAIL = SqlFile("jobs", "fail_jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailure:
    """The failure of one attempt.

    Attributes:
        lease: The lease of the worker that reports it.
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
    worker_id: str,
    failures: Sequence[AttemptFailure],
    *,
    run_wait: timedelta = BRIEF_LOCK_TIMEOUT,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[dict[UUID, bool]]:
    """Record many failures of one worker.

    The step of a workflow waits with its job for the next attempt, or ends with it, as by
    :func:`~runledger.postgres.jobs.completion.complete_jobs`.

    Args:
        worker_id: The worker that held the leases.
        failures: The failures to report.
        run_wait: How long to wait for each run that another transaction is changing; zero leaves such runs alone.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        For each job recorded, whether it is a dead letter now. The others are held no longer, or they or their run are
        locked by another transaction: :func:`~runledger.postgres.jobs.lease.read_held_leases` tells which.
    """
    if not failures:
        return {}
    if run_wait != timedelta():
        check_lock_timeout("run_wait", run_wait)
    check_now(now)
    rows = yield Statement(sql=_FAIL, document=_document(worker_id, failures, now=now), is_first_part=True)
    recorded = {row["job_id"]: row["is_dead_letter"] for row in rows if row["workflow_run_id"] is None}

    def fail(of_runs: Sequence[AttemptFailure]) -> Steps[list[UUID]]:
        rows = yield Statement(sql=_FAIL, document=_document(worker_id, of_runs, now=now, ends_steps=True))
        recorded.update({row["job_id"]: row["is_dead_letter"] for row in rows})
        return steps_of([row for row in rows if row["is_dead_letter"]])

    of_workflows = jobs_by_run(rows, {failure.lease.job_id: failure for failure in failures})
    yield from end_jobs_of_workflows(of_workflows, fail, run_wait=run_wait, notices=notices, now=now)
    return recorded


@operation("jobs.fail_job")
def fail_job(
    failure: AttemptFailure,
    *,
    lock_timeout: timedelta | None = None,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[bool]:
    """Record one failure, waiting for the job's row lock; the expiry is judged after it.

    Args:
        failure: The lease and what went wrong.
        lock_timeout: Bound on the wait; ``None`` leaves the transaction's setting alone.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        Whether the job is a dead letter now.

    Raises:
        QueryError: Nothing was written; the codes are those of
            :func:`~runledger.postgres.jobs.completion.complete_job`.
    """
    check_duration("retry_delay", failure.retry_delay)
    check_now(now)
    lease = failure.lease

    def fail(*, ends_steps: bool | None = None) -> Statement:
        document = _document(lease.worker_id, [failure], now=now, ends_steps=ends_steps)
        return Statement(sql=_FAIL, document=document)

    rows = yield fail()
    run_id = run_of(rows)
    ends_steps = None if run_id is None else True
    if run_id is not None:
        # The run first, and nothing is locked yet.
        yield from lock_run(run_id, scope=Admin(), isolation_code=TERMINAL_COMPLETION_ISOLATION)
        rows = yield fail(ends_steps=ends_steps)
    if not rows:
        yield from lock_job(lease.job_id, lock_timeout=lock_timeout)
        rows = yield fail(ends_steps=ends_steps)
    is_dead_letter: bool | None = rows[0]["is_dead_letter"] if rows else None
    # Left alone only now: while the lock was waited for, the job came to its last attempt, which is somebody else's.
    if is_dead_letter is None:
        raise lease_owner_mismatch("jobs.fail_job")
    # None when the run was deleted meanwhile: the job is a plain one then.
    ended = steps_of(rows) if is_dead_letter else []
    if ended:
        yield from end_job_steps(ended, notices=notices, now=now)
    return is_dead_letter


def _document(
    worker_id: str, failures: Sequence[AttemptFailure], *, now: datetime | None, ends_steps: bool | None = None
) -> str:
    return keyed_document(worker_id, [_member(failure) for failure in failures], now=now, ends_steps=ends_steps)


def _member(failure: AttemptFailure) -> str:
    lease = failure.lease
    delay_ms = retry_delay_milliseconds(failure.retry_delay)
    return (
        f'"{lease.job_id}":{{"run_number":{lease.run_number},"attempt":{lease.attempt},"kind":"{failure.kind.value}",'
        f'"error_code":{json_text(clean_error_text(failure.error_code))},'
        f'"error_message":{json_text(clean_error_text(failure.error_message))},"retry_delay_ms":{delay_ms}}}'
    )
