"""A run of a workflow with everything that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from runledger.cli.job_history import ONE_SNAPSHOT
from runledger.client import SyncLedger
from runledger.core import Admin, EnqueuedStep, WorkflowRunRecord, WorkflowStepDependency, WorkflowStepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowHistory:
    """A run with its steps, as of one instant.

    Attributes:
        run: The run.
        steps: Its steps, in the order in which they were made.
        dependencies: What waits for what.
        enqueued: What those steps wait for whose jobs wait in the queue.
    """

    run: WorkflowRunRecord
    steps: list[WorkflowStepRecord]
    dependencies: list[WorkflowStepDependency]
    enqueued: list[EnqueuedStep]


def read_workflow_history(ledger: SyncLedger, run_id: UUID) -> WorkflowHistory | None:
    """Read a run of any organization; ``None`` when there is none."""
    with ledger.transaction() as connection:
        connection.execute(ONE_SNAPSHOT)
        run = ledger.get_workflow_run(run_id, scope=Admin(), connection=connection)
        if run is None:
            return None
        return WorkflowHistory(
            run=run,
            steps=ledger.list_workflow_steps(run_id, scope=Admin(), connection=connection),
            dependencies=ledger.list_workflow_step_dependencies(run_id, scope=Admin(), connection=connection),
            enqueued=ledger.list_enqueued_workflow_steps(run_id, scope=Admin(), connection=connection),
        )
