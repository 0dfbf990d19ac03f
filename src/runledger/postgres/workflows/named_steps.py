"""What operations must know of steps that are named by their keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from runledger.core.workflows.status import WorkflowStepExecutionKind, WorkflowStepStatus
from runledger.postgres.document import encode_document
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.row_decoding import decode_execution_kind, decode_step_status
from runledger.postgres.sql_files import SqlFile

_READ = SqlFile("workflows", "read_workflow_steps_by_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStep:
    """A step of a run whose lock is held.

    Attributes:
        step_id: The step.
        execution_kind: Whether a job or the application carries it out.
        status: Its status.
        job_id: Its job, or ``None``.
    """

    step_id: UUID
    execution_kind: WorkflowStepExecutionKind
    status: WorkflowStepStatus
    job_id: UUID | None


def read_named_steps(run_id: UUID, step_keys: Iterable[str]) -> Steps[dict[str, NamedStep]]:
    """Return those steps of a run that exist, by key."""
    document = encode_document(run_id=run_id, step_keys=sorted(set(step_keys)))
    rows = yield Statement(sql=_READ, document=document)
    return {
        row["step_key"]: NamedStep(
            step_id=row["step_id"],
            execution_kind=decode_execution_kind(row["execution_kind"]),
            status=decode_step_status(row["status"]),
            job_id=row["job_id"],
        )
        for row in rows
    }
