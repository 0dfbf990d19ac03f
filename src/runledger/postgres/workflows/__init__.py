"""Operations on workflows: enqueue, append, complete a gate, cancel, read. What ends a job ends its step with it."""

from runledger.postgres.workflows.append import (
    WorkflowAppendRequest,
    append_workflow_steps,
    append_workflow_steps_of_job,
)
from runledger.postgres.workflows.cancellation import cancel_workflow_run
from runledger.postgres.workflows.enqueue import enqueue_workflow_run
from runledger.postgres.workflows.external_gate import complete_external_workflow_step
from runledger.postgres.workflows.reads import (
    get_latest_workflow_run_by_type,
    get_workflow_run_by_id,
    get_workflow_run_by_type_and_idempotency_key,
    get_workflow_run_id_for_job,
    list_enqueued_workflow_steps,
    list_workflow_runs,
    list_workflow_step_dependencies,
    list_workflow_steps,
    read_prerequisites,
)
from runledger.postgres.workflows.step_payload import (
    list_workflow_step_keys_for_update,
    update_workflow_step_and_pending_job_payload,
)

__all__ = [
    "WorkflowAppendRequest",
    "append_workflow_steps",
    "append_workflow_steps_of_job",
    "cancel_workflow_run",
    "complete_external_workflow_step",
    "enqueue_workflow_run",
    "get_latest_workflow_run_by_type",
    "get_workflow_run_by_id",
    "get_workflow_run_by_type_and_idempotency_key",
    "get_workflow_run_id_for_job",
    "list_enqueued_workflow_steps",
    "list_workflow_runs",
    "list_workflow_step_dependencies",
    "list_workflow_step_keys_for_update",
    "list_workflow_steps",
    "read_prerequisites",
    "update_workflow_step_and_pending_job_payload",
]
