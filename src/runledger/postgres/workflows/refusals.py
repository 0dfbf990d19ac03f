"""What is refused for lack of a run or a step."""

from __future__ import annotations

from runledger.core.printable import shortened
from runledger.core.scope import Scope
from runledger.postgres.asked_scope import describe_asked_scope
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal

_NO_GATE = "workflow.external_step_not_found"
_SEE_STEPS = "`runledger workflow show` and `list_workflow_steps` tell its steps"


def run_not_found(operation_name: str, scope: Scope) -> QueryError:
    """Return the error of a run that is not in the scope."""
    return _run_not_found("workflow.run_not_found", operation_name, scope)


def run_of_gate_not_found(operation_name: str, scope: Scope) -> QueryError:
    """Return the error of a gate to complete whose run is not in the scope."""
    return _run_not_found(_NO_GATE, operation_name, scope)


def gate_not_found(operation_name: str, step_key: str) -> QueryError:
    """Return the error of a gate to complete whose run has no step with its key."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        _NO_GATE,
        f"the run has no step '{shortened(step_key)}'; {_SEE_STEPS}",
        internal=f"{operation_name}: no step with this key in the run",
    )


def window_not_found(operation_name: str, step_key: str) -> QueryError:
    """Return the error of an append through a step that the run does not have."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        "workflow.append_window_missing",
        f"the run has no step '{shortened(step_key)}' to append through; {_SEE_STEPS}",
        internal=f"{operation_name}: no step with this key in the run",
    )


def _run_not_found(code: str, operation_name: str, scope: Scope) -> QueryError:
    return refusal(
        QueryErrorCategory.VALIDATION,
        code,
        f"there is no such workflow run{describe_asked_scope(scope, 'run')}",
        internal=f"{operation_name}: no row with this id in the scope",
    )
