"""Runs of workflows and their steps as JSON, for programs."""

from __future__ import annotations

from dataclasses import asdict, fields

from runledger.cli.job_document import plain_document
from runledger.cli.workflow_history import WorkflowHistory
from runledger.core import EnqueuedStep, WorkflowRunRecord, WorkflowStepDependency, WorkflowStepRecord

_MAY_HOLD_SECRETS = frozenset({"payload", "output", "metadata", "result", "idempotency_key"})


def history_document(history: WorkflowHistory, *, shows_payload: bool) -> dict[str, object]:
    """Return a run, its steps, what waits for what and why; a member that is not shown is left out."""
    return {
        "run": run_document(history.run, shows_payload=shows_payload),
        "steps": [step_document(step, shows_payload=shows_payload) for step in history.steps],
        "dependencies": [_members(edge, shows_payload=True) for edge in history.dependencies],
        "enqueued": [_members(step, shows_payload=True) for step in history.enqueued],
    }


def run_document(run: WorkflowRunRecord, *, shows_payload: bool = False) -> dict[str, object]:
    """Return a run as plain JSON values."""
    return _members(run, shows_payload=shows_payload) | {"step_counts": asdict(run.step_counts)}


def step_document(step: WorkflowStepRecord, *, shows_payload: bool = False) -> dict[str, object]:
    """Return a step as plain JSON values."""
    return _members(step, shows_payload=shows_payload)


def _members(
    record: WorkflowRunRecord | WorkflowStepRecord | WorkflowStepDependency | EnqueuedStep, *, shows_payload: bool
) -> dict[str, object]:
    return plain_document(
        {
            field.name: getattr(record, field.name)
            for field in fields(record)
            if shows_payload or field.name not in _MAY_HOLD_SECRETS
        }
    )
