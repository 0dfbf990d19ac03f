"""Complete a gate: the application says how a step has ended that no worker carries out."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from uuid import UUID

from runledger.core.errors import BlankStepKeyError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.setting_checks import check_reason
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.core.scope import Admin, Scope
from runledger.core.workflows.records import CompletedGate, WorkflowStepRecord
from runledger.core.workflows.status import WorkflowRunStatus, WorkflowStepExecutionKind, WorkflowStepStatus
from runledger.core.workflows.step_release import DEPENDENCY_UNSATISFIED
from runledger.postgres.document import check_now, stored_error_text
from runledger.postgres.notices import Notices
from runledger.postgres.operation import Steps, operation
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal
from runledger.postgres.workflows.advance import GateEnd, end_gate
from runledger.postgres.workflows.reads import read_steps
from runledger.postgres.workflows.refusals import gate_not_found, run_of_gate_not_found
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
) -> Steps[CompletedGate]:
    """Complete a gate that is waiting, and return it. What waited for it is released or canceled with it.

    Completing it again with the same status gives the gate as it is and changes nothing: ``was_completed_already``
    says so.

    Args:
        run_id: The run.
        step_key: The gate.
        scope: Whose runs may be changed.
        status: How it ended: SUCCEEDED, FAILED or CANCELED.
        output: Any JSON value, for those that come after.
        reason: The reason, for people; not blank.
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
    # By its class: the text "FAILED" is equal to the member, and would fail further on.
    if not isinstance(status, WorkflowStepStatus):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid_status(
            f"status: is of type {type(status).__name__}; pass WorkflowStepStatus.SUCCEEDED, FAILED or CANCELED"
        )
    if not status.is_terminal:
        raise _invalid_status("a gate is completed as SUCCEEDED, FAILED or CANCELED")
    check_identifier(step_key, field="step_key", blank_error=BlankStepKeyError)
    check_now(now)
    if reason is not None:
        check_reason("reason", reason)
    stored_code = stored_error_text("error_code", error_code)
    stored_message = stored_error_text("error_message", error_message)
    output_json = None if output is None else encode_json(output, field="output")
    run = yield from lock_run(run_id, scope=scope, isolation_code=_ISOLATION)
    if run is None:
        raise run_of_gate_not_found("workflows.complete_external_workflow_step", scope)
    step = (yield from read_steps(run_id, [step_key], scope=Admin())).get(step_key)
    if step is None:
        raise gate_not_found("workflows.complete_external_workflow_step", step_key)
    if step.execution_kind is not WorkflowStepExecutionKind.EXTERNAL:
        raise _refusal(
            "workflow.external_step_not_external", "the step is carried out by a job, not by the application"
        )
    if step.status is status:
        return _completed(step, was_completed_already=True)
    if step.status.is_terminal:
        raise _refusal(
            "workflow.external_step_conflicting_completion_retry",
            _why_ended(step, run.status),
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
    ended = (yield from read_steps(run_id, [step_key], scope=Admin()))[step_key]
    return _completed(ended, was_completed_already=False)


def _why_ended(step: WorkflowStepRecord, run_status: WorkflowRunStatus) -> str:
    is_canceled = step.status is WorkflowStepStatus.CANCELED
    if is_canceled and run_status is WorkflowRunStatus.CANCELED:
        return "the run was canceled, and no gate of it can be completed any more"
    if is_canceled and step.last_error_code == DEPENDENCY_UNSATISFIED:
        return "the gate was canceled, since the steps that it depends on ended without meeting its requirements"
    return f"the gate was completed as {step.status.value} already"


def _completed(step: WorkflowStepRecord, *, was_completed_already: bool) -> CompletedGate:
    members = {field.name: getattr(step, field.name) for field in fields(step)}
    return CompletedGate(**members, was_completed_already=was_completed_already)


def _invalid_status(client_message: str) -> QueryError:
    return _refusal("workflow.external_step_invalid_terminal_status", client_message)


def _refusal(code: str, client_message: str) -> QueryError:
    return refusal(
        QueryErrorCategory.VALIDATION,
        code,
        client_message,
        internal=f"workflows.complete_external_workflow_step: {code}",
    )
