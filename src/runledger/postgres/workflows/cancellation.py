"""Cancel a run: every step that has not ended, with its job, and the run."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from runledger.core.jobs.setting_checks import check_reason
from runledger.core.scope import Admin, Scope
from runledger.core.workflows.records import WorkflowRunRecord
from runledger.postgres.document import check_now, encode_document, stored_error_text
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.advance import inconsistent_run
from runledger.postgres.workflows.reads import read_run
from runledger.postgres.workflows.refusals import run_not_found
from runledger.postgres.workflows.run_lock import lock_jobs_of_run, lock_run

_CANCEL = SqlFile("workflows", "cancel_workflow_run")

_ISOLATION = "workflow.cancel_unsupported_isolation"


@operation("workflows.cancel_workflow_run")
def cancel_workflow_run(
    run_id: UUID,
    *,
    scope: Scope,
    reason: str | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[WorkflowRunRecord]:
    """Cancel a run and return it; a run that has ended is returned as it is.

    Every step that has not ended is CANCELED, with its job; nothing is released. Handlers that run hear of it as of any
    cancel, and whatever they write is refused.

    Waits for the lock of the run and for those of its jobs, as long as the ``lock_timeout`` of the transaction lets it.

    Args:
        run_id: The run.
        scope: Whose runs may be canceled.
        reason: Kept as the status reason of steps and jobs; ``CANCELED`` when not given.
        error_code: Kept as the error code of the steps.
        error_message: The text that goes with it; cleaned and cut to what the database stores.
        notices: How workers are told that their jobs are canceled, and clients that the run has ended.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: Nothing was written: ``workflow.run_not_found``: there is none in the scope.
            ``workflow.cancel_unsupported_isolation``. ``workflow.release_conflict``: a lock was not to be had in time.
            ``workflow.internal_state``: a step says that it has a job, and there is none to cancel.
    """
    if reason is not None:
        check_reason("reason", reason)
    check_now(now)
    stored_code = stored_error_text("error_code", error_code)
    stored_message = stored_error_text("error_message", error_message)
    run = yield from lock_run(run_id, scope=scope, isolation_code=_ISOLATION, lock_timeout=None)
    if run is None:
        raise run_not_found("workflows.cancel_workflow_run", scope)
    if not run.status.is_terminal:
        yield from lock_jobs_of_run(run_id)
        yield from _cancel(
            encode_document(
                run_id=run_id,
                reason=reason,
                error_code=stored_code,
                error_message=stored_message,
                notifies=sends_inside(notices),
                now=now,
            ),
            notices,
        )
        if notices is not None:
            notices.take_ended([run_id])
    canceled = yield from read_run(run_id, scope=Admin())
    assert canceled is not None  # noqa: S101 (its row is locked by this transaction)
    return canceled


def _cancel(document: str, notices: Notices | None) -> Steps[None]:
    rows = yield Statement(sql=_CANCEL, document=document)
    inconsistent = rows[0]["inconsistent_count"]
    if inconsistent:
        raise inconsistent_run(f"workflows.cancel_workflow_run: {inconsistent} steps without a job to cancel")
    if notices is not None:
        for row in rows:
            notices.take(row)
