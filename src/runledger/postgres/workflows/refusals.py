"""What is refused for lack of a run or a step. Outside the scope is nowhere, so the texts tell which scope it was."""

from __future__ import annotations

from runledger.core.scope import Global, Organization, Scope
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal


def run_not_found(operation_name: str, scope: Scope) -> QueryError:
    """Return the error of a run that is not in the scope."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        "workflow.run_not_found",
        f"there is no such workflow run{_place(scope)}",
        internal=f"{operation_name}: no row with this id in the scope",
    )


def gate_not_found(operation_name: str, scope: Scope) -> QueryError:
    """Return the error of a gate to complete whose run or key is not in the scope."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        "workflow.external_step_not_found",
        f"there is no such workflow run, or no step with this key in it{_place(scope)}",
        internal=f"{operation_name}: no run with this id in the scope, or no step with this key",
    )


def _place(scope: Scope) -> str:
    match scope:
        case Global():
            return " in the global scope; pass `scope=Organization(id)` for a run of an organisation"
        case Organization():
            return " in the scope of the organisation that was given; `scope=` says whose runs are looked for"
        case _:
            return ""
