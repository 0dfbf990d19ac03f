"""Complete a gate: the application says how a step has ended that no worker carries out."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from runledger.core.errors import BlankStepKeyError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.setting_checks import check_reason
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.core.scope import Admin, Scope
from runledger.core.workflows.records import WorkflowStepRecord
from runledger.core.workflows.status import WorkflowStepExecutionKind, WorkflowStepStatus
from runledger.postgres.document import check_now, stored_error_text
from runledger.postgres.notices import Notices
from runledger.postgres.operation import Steps, operation
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal
from runledger.postgres.workflows.advance import GateEnd, end_gate
from runledger.postgres.workflows.reads import read_steps
from runledger.postgres.workflows.run_lock import lock_run

_ISOLATION = "workflow.external_completion_unsupported_isolation"


@operation("workflows.complete_external_workflow_step")
def complete_external_workflow_step(
    run_id: UUID,
    step_key: str,
    *,
    scope: Scope,
    status: WorkflowStepStatus = WorkflowStepStatus.SUCCEEDED,
    output: JsonEncodable = None,
    reason: str | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[WorkflowStepRecord]:
    """Complete a gate that is waiting, and return it. What waited for it is released or canceled with it.

    Completing it again with the same status gives the gate as it is and changes nothing.

    Args:
        run_id: The run.
        step_key: The gate.
        scope: Whose runs may be changed.
        status: How it ended: SUCCEEDED, FAILED or CANCELED.
        output: Any JSON value, for those that come after.
        reason: Why, for people; not blank.
        error_code: What went wrong, as a short stable text.
        error_message: The text that goes with it; cleaned and cut to what the database stores.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: Nothing was written: ``workflow.external_step_invalid_terminal_status``,
            ``workflow.external_step_not_found`` (no such run or step in the scope),
            ``workflow.external_step_not_external``, ``workflow.external_step_not_waiting`` (its own prerequisites have
            not ended), ``workflow.external_step_conflicting_completion_retry`` (it ended with another status),
            ``workflow.external_completion_unsupported_isolation``, or ``workflow.release_conflict``: another
            transaction kept the run locked for five seconds.
    """
    if not isinstance(status, WorkflowStepStatus) or not status.is_terminal:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refusal(
            "workflow.external_step_invalid_terminal_status", "a gate is completed as SUCCEEDED, FAILED or CANCELED"
        )
    check_identifier(step_key, field="step_key", blank_error=BlankStepKeyError)
    check_now(now)
    if reason is not None:
        check_reason("reason", reason)
    stored_code = stored_error_text("error_code", error_code)
    stored_message = stored_error_text("error_message", error_message)
    output_json = None if output is None else encode_json(output, field="output")
    run = yield from lock_run(run_id, scope=scope, isolation_code=_ISOLATION)
    step = None if run is None else (yield from read_steps(run_id, [step_key], scope=Admin())).get(step_key)
    if step is None:
        raise _refusal("workflow.external_step_not_found", "there is no such step")
    if step.execution_kind is not WorkflowStepExecutionKind.EXTERNAL:
        raise _refusal(
            "workflow.external_step_not_external", "the step is carried out by a job, not by the application"
        )
    if step.status is status:
        return step
    if step.status.is_terminal:
        raise _refusal(
            "workflow.external_step_conflicting_completion_retry",
            f"the gate was completed as {step.status.value} already",
        )
    if step.status is not WorkflowStepStatus.WAITING_FOR_EXTERNAL:
        raise _refusal(
            "workflow.external_step_not_waiting", "the gate waits for other steps itself and cannot be completed yet"
        )
    end = GateEnd(
        step_id=step.id,
        status=status,
        reason=reason,
        error_code=stored_code,
        error_message=stored_message,
        output_json=output_json,
    )
    yield from end_gate(end, notices=notices, now=now)
    return (yield from read_steps(run_id, [step_key], scope=Admin()))[step_key]


def _refusal(code: str, client_message: str) -> QueryError:
    return refusal(
        QueryErrorCategory.VALIDATION,
        code,
        client_message,
        internal=f"workflows.complete_external_workflow_step: {code}",
    )
