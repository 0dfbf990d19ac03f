"""Cancel: take a job off the queue, or away from its worker."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from runledger.core.jobs.records import JobRecord
from runledger.core.jobs.setting_checks import check_reason
from runledger.core.scope import Admin, Scope
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.jobs.locking import invalid_state_transition, lock_job_in_scope, read_changed_job
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.advance import TERMINAL_COMPLETION_ISOLATION, end_job_steps
from runledger.postgres.workflows.run_lock import lock_run
from runledger.postgres.workflows.run_of_job import find_run_of_job

_CANCEL = SqlFile("jobs", "cancel_job")


@operation("jobs.cancel_job")
def cancel_job(
    job_id: UUID,
    *,
    scope: Scope,
    reason: str | None = None,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[JobRecord]:
    """Cancel a PENDING or LEASED job and return it. Waits for the row lock.

    The handler of a LEASED job is not stopped by the database, and whatever it writes is refused. Its worker hears of
    it by a notice, or at the next renewal. The step of a workflow is canceled with its job, and what waited for it is
    released or canceled; the run goes on.

    Args:
        job_id: The job.
        scope: Whose jobs may be canceled.
        reason: Kept as the job's status reason and in the CANCELED event; ``CANCELED`` when not given.
        notices: How the worker is told; nobody is when not given.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: ``job.not_found``: there is none in the scope. ``job.invalid_state_transition``: it has ended
            already. For the step of a workflow also ``workflow.release_conflict``, when another transaction kept its
            run locked for five seconds, and ``workflow.terminal_completion_unsupported_isolation``. Nothing was
            written.
    """
    if reason is not None:
        check_reason("reason", reason)
    check_now(now)
    found = yield from find_run_of_job(job_id, scope=scope)
    if found is not None:
        run_id, _ = found
        yield from lock_run(run_id, scope=Admin(), isolation_code=TERMINAL_COMPLETION_ISOLATION)
    locked = yield from lock_job_in_scope(job_id, scope=scope, operation_name="jobs.cancel_job", now=now)
    document = encode_document(job_id=job_id, reason=reason, notifies=sends_inside(notices), now=now)
    rows = yield Statement(sql=_CANCEL, document=document)
    if not rows:
        raise invalid_state_transition("jobs.cancel_job", locked.status, "can be canceled while PENDING or LEASED")
    if notices is not None:
        notices.take(rows[0])
    if found is not None:
        _, step_id = found
        yield from end_job_steps([step_id], notices=notices, now=now)
    return (yield from read_changed_job(job_id, scope=scope))
