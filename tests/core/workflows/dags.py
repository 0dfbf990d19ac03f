"""Steps for tests, in a line each."""

from __future__ import annotations

from typing import Any

from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.status import WorkflowStepExecutionKind


def job(key: str, *prerequisites: str, **fields: Any) -> WorkflowStepEnqueue:
    """Return a job step that waits for others, however they end."""
    given: dict[str, Any] = {"step_key": key, "job_type": "t", "dependencies": waits(*prerequisites)} | fields
    return WorkflowStepEnqueue(**given)


def gate(key: str, *prerequisites: str, **fields: Any) -> WorkflowStepEnqueue:
    """Return an external step that waits for others, however they end."""
    given: dict[str, Any] = {"execution_kind": WorkflowStepExecutionKind.EXTERNAL, "job_type": None} | fields
    return job(key, *prerequisites, **given)


def waits(*prerequisites: str) -> tuple[WorkflowStepDependencySpec, ...]:
    """Return a dependency on each."""
    return tuple(WorkflowStepDependencySpec(prerequisite_step_key=key) for key in prerequisites)


def run_of(*steps: WorkflowStepEnqueue, **fields: Any) -> WorkflowRunEnqueue:
    """Return a request with these steps."""
    given: dict[str, Any] = {"workflow_type": "w", "steps": steps} | fields
    return WorkflowRunEnqueue(**given)
