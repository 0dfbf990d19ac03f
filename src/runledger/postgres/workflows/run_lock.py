"""The lock of a run: its row. A run is advanced by one transaction at a time, see docs/explanation/lock-order.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from runledger.core.scope import Admin, Scope
from runledger.core.workflows.status import WorkflowRunStatus
from runledger.postgres.document import check_uuid, encode_document, milliseconds, scope_fields
from runledger.postgres.operation import Rows, Statement, Steps
from runledger.postgres.row_decoding import decode_run_status
from runledger.postgres.sql_errors import ErrorClass, QueryError, QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_WAIT = SqlFile("workflows", "lock_workflow_runs")
_TRY = SqlFile("workflows", "try_lock_workflow_runs")
_WAIT_FOR_JOB = SqlFile("workflows", "lock_workflow_job")
_WAIT_FOR_JOBS = SqlFile("workflows", "lock_workflow_run_jobs")

LOCK_TIMEOUT = timedelta(seconds=5)
"""How long an operation waits for the lock of a run at most; a shorter ``lock_timeout`` of the transaction counts."""

BRIEF_LOCK_TIMEOUT = timedelta(milliseconds=250)
"""How long a batch waits for runs that others advance just now, which takes milliseconds."""

RELEASE_CONFLICT = "workflow.release_conflict"
"""Code of a run that another transaction keeps locked."""

_CONFLICT = ErrorClass(
    QueryErrorCategory.CONFLICT,
    RELEASE_CONFLICT,
    "another transaction is changing this workflow run; try again",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRun:
    """What a run is while its lock is held.

    Attributes:
        status: Its status.
        organization_id: The tenant that it belongs to, or ``None``.
    """

    status: WorkflowRunStatus
    organization_id: UUID | None


def lock_run(
    run_id: UUID, *, scope: Scope, isolation_code: str, lock_timeout: timedelta | None = LOCK_TIMEOUT
) -> Steps[LockedRun | None]:
    """Wait for the lock of a run, as the first part of an operation on it; ``None`` if the scope has no such run.

    Args:
        run_id: The run.
        scope: Whose runs may be changed.
        isolation_code: Code of the refusal of a transaction that cannot see what others commit.
        lock_timeout: Bound on the wait; ``None`` leaves the setting of the transaction alone.

    Raises:
        QueryError: ``workflow.release_conflict``: it was not had in time. ``isolation_code``.
    """
    check_uuid("run_id", run_id)
    document = encode_document(
        run_ids=[str(run_id)],
        lock_timeout_ms=None if lock_timeout is None else milliseconds(lock_timeout),
        **scope_fields(scope),
    )
    rows = yield Statement(sql=_WAIT, document=document, lock_conflict=_CONFLICT)
    _check_isolation(rows, isolation_code)
    if rows[0]["run_id"] is None:
        return None
    return LockedRun(status=decode_run_status(rows[0]["status"]), organization_id=rows[0]["organization_id"])


def lock_job_of_run(job_id: UUID, *, lock_timeout: timedelta = LOCK_TIMEOUT) -> Steps[None]:
    """Wait for the lock of the job of a step, while the lock of its run is held.

    Args:
        job_id: The job.
        lock_timeout: Bound on the wait.

    Raises:
        QueryError: ``workflow.release_conflict``: it was not had in time.
    """
    document = encode_document(job_id=job_id, lock_timeout_ms=milliseconds(lock_timeout))
    yield Statement(sql=_WAIT_FOR_JOB, document=document, lock_conflict=_CONFLICT)


def lock_jobs_of_run(run_id: UUID) -> Steps[None]:
    """Wait for the locks of all jobs of a run that have not ended, while its own is held.

    Raises:
        QueryError: ``workflow.release_conflict``: the ``lock_timeout`` of the transaction was over before.
    """
    document = encode_document(run_id=run_id)
    yield Statement(sql=_WAIT_FOR_JOBS, document=document, lock_conflict=_CONFLICT)


def try_lock_runs(run_ids: Iterable[UUID], *, isolation_code: str, opens_part: bool = False) -> Steps[set[UUID]]:
    """Take the locks of those runs that nobody holds, and return which.

    Args:
        run_ids: The runs.
        isolation_code: Code of the refusal of a transaction that cannot see what others commit.
        opens_part: Begin another part of the operation with this.

    Raises:
        QueryError: ``isolation_code``.
    """
    document = encode_document(run_ids=_texts(run_ids))
    rows = yield Statement(sql=_TRY, document=document, opens_part=opens_part)
    _check_isolation(rows, isolation_code)
    return _run_ids(rows)


def lock_runs_soon(run_ids: Iterable[UUID], lock_timeout: timedelta) -> Steps[set[UUID]]:
    """Wait for the locks of runs, in another part of the operation: all of them, or none.

    Args:
        run_ids: The runs.
        lock_timeout: Bound on the wait for each.
    """
    document = encode_document(
        run_ids=_texts(run_ids), lock_timeout_ms=milliseconds(lock_timeout), **scope_fields(Admin())
    )
    try:
        rows = yield Statement(sql=_WAIT, document=document, lock_conflict=_CONFLICT, is_guarded=True, opens_part=True)
    except QueryError as error:
        if error.code != RELEASE_CONFLICT:
            raise
        return set()
    return _run_ids(rows)


def _check_isolation(rows: Rows, code: str) -> None:
    # Such a transaction would go on with the run as it was before the lock.
    if not rows[0]["sees_commits"]:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            code,
            "changing a workflow run needs a transaction at READ COMMITTED",
        )


def _texts(run_ids: Iterable[UUID]) -> list[str]:
    return [str(run_id) for run_id in run_ids]


def _run_ids(rows: Rows) -> set[UUID]:
    return {row["run_id"] for row in rows} - {None}
