"""Reads: runs, their steps, and what waits for what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from runledger.core.database_text import check_text
from runledger.core.errors import BlankWorkflowTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.setting_checks import check_idempotency_key
from runledger.core.scope import Admin, Scope
from runledger.core.workflows.records import (
    EnqueuedStep,
    WorkflowPrerequisite,
    WorkflowRunRecord,
    WorkflowStepDependency,
    WorkflowStepRecord,
)
from runledger.core.workflows.status import WorkflowRunStatus, WorkflowStepStatus
from runledger.postgres.document import check_limit, check_now, check_uuid, encode_document, run_document, scope_fields
from runledger.postgres.operation import Operation, Statement, Steps, operation
from runledger.postgres.row_decoding import (
    decode_enqueued_step,
    decode_workflow_prerequisite,
    decode_workflow_run,
    decode_workflow_step,
    decode_workflow_step_dependency,
)
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.run_of_job import find_run_of_job

_GET_RUN = SqlFile("workflows", "get_workflow_run")
_LIST_RUNS = SqlFile("workflows", "list_workflow_runs")
_LIST_WAITING_RUNS = SqlFile("workflows", "list_waiting_workflow_runs")
_FIND_BY_KEY = SqlFile("workflows", "find_workflow_run_by_idempotency_key")
_LIST_STEPS = SqlFile("workflows", "list_workflow_steps")
_LIST_ENQUEUED_STEPS = SqlFile("workflows", "list_enqueued_workflow_steps")
_LIST_DEPENDENCIES = SqlFile("workflows", "list_workflow_step_dependencies")
_READ_PREREQUISITES = SqlFile("workflows", "read_prerequisites")


@operation("workflows.get_workflow_run_by_id")
def get_workflow_run_by_id(run_id: UUID, *, scope: Scope) -> Steps[WorkflowRunRecord | None]:
    """Return a run, or ``None`` when there is none in the scope."""
    return (yield from read_run(run_id, scope=scope, is_only=True))


@operation("workflows.list_workflow_runs")
def list_workflow_runs(
    *,
    scope: Scope,
    status: WorkflowRunStatus | None = None,
    workflow_type_contains: str | None = None,
    has_waiting_gate: bool = False,
    limit: int = 100,
    before_run_id: UUID | None = None,
) -> Steps[list[WorkflowRunRecord]]:
    """Return runs, newest first.

    Args:
        scope: Whose runs may be seen.
        status: Only runs with this status.
        workflow_type_contains: Only types with this text in them, whatever the case.
        has_waiting_gate: Only runs in which a gate waits for the application. Most of them are RUNNING: a run is
            WAITING_FOR_EXTERNAL when nothing but gates is left of it.
        limit: The most runs to return.
        before_run_id: Only runs older than this one; the id of the last run seen turns the page.
    """
    check_limit(limit)
    if workflow_type_contains is not None:
        check_text("workflow_type_contains", workflow_type_contains)
    if before_run_id is not None:
        check_uuid("before_run_id", before_run_id)
    document = encode_document(
        status=_status_text(status, WorkflowRunStatus),
        type_contains=workflow_type_contains,
        limit=limit,
        before_run_id=before_run_id,
        **scope_fields(scope),
    )
    rows = yield Statement(sql=_LIST_WAITING_RUNS if has_waiting_gate else _LIST_RUNS, document=document, is_only=True)
    return [decode_workflow_run(row) for row in rows]


@operation("workflows.get_latest_workflow_run_by_type")
def get_latest_workflow_run_by_type(workflow_type: str, *, scope: Scope) -> Steps[WorkflowRunRecord | None]:
    """Return the newest run of a type, or ``None``."""
    check_identifier(workflow_type, field="workflow_type", blank_error=BlankWorkflowTypeError)
    document = encode_document(workflow_type=workflow_type, limit=1, **scope_fields(scope))
    rows = yield Statement(sql=_LIST_RUNS, document=document, is_only=True)
    return decode_workflow_run(rows[0]) if rows else None


@operation("workflows.get_workflow_run_by_type_and_idempotency_key")
def get_workflow_run_by_type_and_idempotency_key(
    workflow_type: str, idempotency_key: str, *, scope: Scope
) -> Steps[WorkflowRunRecord | None]:
    """Return the run that was enqueued with a key, or ``None``.

    Args:
        workflow_type: The type it was enqueued with.
        idempotency_key: The key.
        scope: Whose key it is: each organization has its own keys, and the global scope has others.

    Raises:
        InvalidArgumentError: The scope is ``Admin()``, which has no keys of its own.
    """
    if isinstance(scope, Admin):
        raise InvalidArgumentError("scope", "has no idempotency keys of its own", "pass Global() or Organization(id)")
    check_identifier(workflow_type, field="workflow_type", blank_error=BlankWorkflowTypeError)
    check_idempotency_key(idempotency_key)
    document = encode_document(workflow_type=workflow_type, idempotency_key=idempotency_key, **scope_fields(scope))
    rows = yield Statement(sql=_FIND_BY_KEY, document=document)
    return (yield from read_run(rows[0]["run_id"], scope=scope)) if rows else None


@operation("workflows.list_workflow_steps")
def list_workflow_steps(
    run_id: UUID,
    *,
    scope: Scope,
    status: WorkflowStepStatus | None = None,
    limit: int | None = None,
    after_step_id: UUID | None = None,
) -> Steps[list[WorkflowStepRecord]]:
    """Return the steps of a run in the order in which they were made.

    Args:
        run_id: The run; one outside the scope has no steps.
        scope: Whose runs may be seen.
        status: Only steps with this status.
        limit: Steps at most; all when not given.
        after_step_id: Only steps after this one; the id of the last step seen turns the page.
    """
    if limit is not None:
        check_limit(limit)
    if after_step_id is not None:
        check_uuid("after_step_id", after_step_id)
    document = run_document(
        run_id,
        scope=scope,
        status=_status_text(status, WorkflowStepStatus),
        limit=limit,
        after_step_id=after_step_id,
    )
    rows = yield Statement(sql=_LIST_STEPS, document=document, is_only=True)
    return [decode_workflow_step(row) for row in rows]


@operation("workflows.list_enqueued_workflow_steps")
def list_enqueued_workflow_steps(
    run_id: UUID, *, scope: Scope, now: datetime | None = None
) -> Steps[list[EnqueuedStep]]:
    """Return what the ENQUEUED steps of a run wait for, in the order in which they were made.

    Args:
        run_id: The run; one outside the scope has no steps.
        scope: Whose runs may be seen.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_now(now)
    document = run_document(run_id, scope=scope, now=now)
    rows = yield Statement(sql=_LIST_ENQUEUED_STEPS, document=document, is_only=True)
    return [decode_enqueued_step(row) for row in rows]


@operation("workflows.list_workflow_step_dependencies")
def list_workflow_step_dependencies(run_id: UUID, *, scope: Scope) -> Steps[list[WorkflowStepDependency]]:
    """Return what waits for what in a run, by prerequisite and dependent; a run outside the scope has nothing."""
    document = run_document(run_id, scope=scope)
    rows = yield Statement(sql=_LIST_DEPENDENCIES, document=document, is_only=True)
    return [decode_workflow_step_dependency(row) for row in rows]


@operation("workflows.get_workflow_run_id_for_job")
def get_workflow_run_id_for_job(job_id: UUID, *, scope: Scope) -> Steps[UUID | None]:
    """Return the run whose step a job carries out, or ``None``."""
    found = yield from find_run_of_job(job_id, scope=scope, is_only=True)
    return None if found is None else found[0]


@operation("workflows.read_prerequisites")
def read_prerequisites(run_id: UUID, step_id: UUID) -> Steps[dict[str, WorkflowPrerequisite]]:
    """Return the prerequisites of a step as they are now, by their keys, in the order in which they were made.

    The output of a gate is there whatever it was completed as: a refusal can be handed on with its reason. A job has
    one only if it has succeeded.
    """
    document = encode_document(run_id=run_id, step_id=step_id)
    rows = yield Statement(sql=_READ_PREREQUISITES, document=document, is_only=True)
    return {row["step_key"]: decode_workflow_prerequisite(row) for row in rows}


def read_run(
    run_id: UUID, *, scope: Scope, is_only: bool = False, recovery: Operation[object] | None = None
) -> Steps[WorkflowRunRecord | None]:
    """Read a run, as the last part of an operation that has changed it.

    Args:
        run_id: The run.
        scope: Whose rows may be seen.
        is_only: Whether the operation does nothing else.
        recovery: What settles the commit that follows, if it is not confirmed.
    """
    document = run_document(run_id, scope=scope)
    rows = yield Statement(sql=_GET_RUN, document=document, is_only=is_only, recovery=recovery)
    return decode_workflow_run(rows[0]) if rows else None


def read_steps(
    run_id: UUID, step_keys: Sequence[str] | None = None, *, scope: Scope
) -> Steps[dict[str, WorkflowStepRecord]]:
    """Read steps of a run, by key, as a part of an operation: those that are named, or all in their order."""
    document = run_document(run_id, scope=scope, step_keys=None if step_keys is None else list(step_keys))
    rows = yield Statement(sql=_LIST_STEPS, document=document)
    return {row["step_key"]: decode_workflow_step(row) for row in rows}


def _status_text(status: StrEnum | None, expected: type[StrEnum]) -> str | None:
    if status is None:
        return None
    if not isinstance(status, expected):
        raise InvalidArgumentError("status", f"is of type {type(status).__name__}", f"pass a {expected.__name__}")
    return status.value
