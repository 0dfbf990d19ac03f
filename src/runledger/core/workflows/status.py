"""States of workflow runs and steps, their transitions, and the other stored vocabularies of workflows.

There is no orchestrator process. A step moves inside the transaction that moves its job, completes an
external gate, appends steps or cancels the run, and the status of the run is derived from its steps in that
same transaction. So a crash never leaves a workflow between two states, and the repair of a step is the
repair of its job.
"""

from __future__ import annotations

from dataclasses import dataclass

from runledger.core.stored_text import StoredTextEnum


class WorkflowRunStatus(StoredTextEnum):
    """Where a run stands, derived from its steps; only CANCELED is set by itself."""

    RUNNING = "RUNNING"
    """Some step is blocked, enqueued or running. A crash leaves the run as it is; the reaper moves the job
    that the crash left behind, and the run goes on."""

    WAITING_FOR_EXTERNAL = "WAITING_FOR_EXTERNAL"
    """Nothing but external gates is left open: the run moves when the application completes one, appends
    steps or cancels the run. Nobody repairs a gate that is forgotten."""

    SUCCEEDED = "SUCCEEDED"
    """Every step succeeded. Final."""

    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    """Every step has ended, and at least one failed or was canceled. Final. There is no status FAILED for
    runs: branches that do not depend on the failed step are carried through."""

    CANCELED = "CANCELED"
    """The run was canceled as a whole. Final, and never overwritten by derivation from the steps."""

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self in _TERMINAL_RUN_STATUSES


_TERMINAL_RUN_STATUSES = frozenset(
    {WorkflowRunStatus.SUCCEEDED, WorkflowRunStatus.COMPLETED_WITH_ERRORS, WorkflowRunStatus.CANCELED}
)


class WorkflowStepStatus(StoredTextEnum):
    """Where a step stands. A crash leaves one of these: no step moves in a transaction of its own."""

    BLOCKED = "BLOCKED"
    """Waits until all prerequisites have ended. The transaction that ends the last one releases or cancels
    it; when that transaction is lost in a crash, the prerequisite has not ended either and its job is
    repaired first."""

    WAITING_FOR_EXTERNAL = "WAITING_FOR_EXTERNAL"
    """A released external gate; the application completes it. No process holds it, so no crash hurts it."""

    ENQUEUED = "ENQUEUED"
    """Its job waits in the queue, for the first time or for a retry."""

    RUNNING = "RUNNING"
    """Its job is leased. If the worker dies, the reaper moves job and step together: to ENQUEUED, or to
    FAILED when no attempt is left."""

    SUCCEEDED = "SUCCEEDED"
    """Its job succeeded, or the application completed the gate so. Final; satisfies every dependent edge."""

    FAILED = "FAILED"
    """Its job was dead-lettered, or the gate was completed so. Final; satisfies ON_TERMINAL edges only."""

    CANCELED = "CANCELED"
    """Its job or the run was canceled, the gate was completed so, or its dependencies ended without
    satisfying it. Final; satisfies ON_TERMINAL edges only."""

    @property
    def is_terminal(self) -> bool:
        """Whether the step has ended."""
        return self in _TERMINAL_STEP_STATUSES


_TERMINAL_STEP_STATUSES = frozenset(
    {WorkflowStepStatus.SUCCEEDED, WorkflowStepStatus.FAILED, WorkflowStepStatus.CANCELED}
)


class WorkflowDependencyReleaseMode(StoredTextEnum):
    """Which outcome of a prerequisite satisfies a dependency. Unset means ON_TERMINAL everywhere."""

    ON_TERMINAL = "ON_TERMINAL"
    """Any end of the prerequisite: succeeded, failed or canceled."""

    ON_SUCCESS = "ON_SUCCESS"
    """Only its success; otherwise the dependent step is canceled once all its prerequisites have ended."""


class WorkflowStepExecutionKind(StoredTextEnum):
    """Who carries out a step."""

    JOB = "JOB"
    """A worker: the released step owns exactly one job, which its retries reuse."""

    EXTERNAL = "EXTERNAL"
    """The application: the step has no job and waits until it is completed from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepTransition:
    """One permitted move of a step.

    Attributes:
        from_status: The status it comes from; ``None`` for creation.
        to_status: The status it leads to.
        operation: What makes it, as in transitions of jobs, or the part of operations that does.
        note: The guard or effect that the statuses do not show.
    """

    from_status: WorkflowStepStatus | None
    to_status: WorkflowStepStatus
    operation: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRunTransition:
    """One permitted move of a run.

    Attributes:
        from_status: The status it comes from; ``None`` for creation.
        to_status: The status it leads to.
        operation: What makes it, as in transitions of jobs, or the part of operations that does.
        note: The guard or effect that the statuses do not show.
    """

    from_status: WorkflowRunStatus | None
    to_status: WorkflowRunStatus
    operation: str
    note: str


def _step(
    from_status: WorkflowStepStatus | None, to_status: WorkflowStepStatus, operation: str, note: str
) -> WorkflowStepTransition:
    return WorkflowStepTransition(from_status=from_status, to_status=to_status, operation=operation, note=note)


def _run(
    from_status: WorkflowRunStatus | None, to_status: WorkflowRunStatus, operation: str, note: str
) -> WorkflowRunTransition:
    return WorkflowRunTransition(from_status=from_status, to_status=to_status, operation=operation, note=note)


_BLOCKED = WorkflowStepStatus.BLOCKED
_WAITING = WorkflowStepStatus.WAITING_FOR_EXTERNAL
_ENQUEUED = WorkflowStepStatus.ENQUEUED
_RUNNING = WorkflowStepStatus.RUNNING
_SUCCEEDED = WorkflowStepStatus.SUCCEEDED
_FAILED = WorkflowStepStatus.FAILED
_CANCELED = WorkflowStepStatus.CANCELED

STEP_TRANSITIONS: tuple[WorkflowStepTransition, ...] = (
    _step(None, _BLOCKED, "enqueue_workflow", "every step starts blocked; roots are released at once"),
    _step(None, _BLOCKED, "append_steps", "through an open append window"),
    _step(_BLOCKED, _ENQUEUED, "release_step", "JOB; all prerequisites ended, all edges satisfied"),
    _step(_BLOCKED, _WAITING, "release_step", "EXTERNAL; all prerequisites ended, all edges satisfied"),
    _step(_BLOCKED, _CANCELED, "resolve_dependents", "all prerequisites ended, some edge not satisfied"),
    _step(_BLOCKED, _CANCELED, "cancel_workflow_run", "with the run"),
    _step(_ENQUEUED, _RUNNING, "claim", "with its job"),
    _step(_RUNNING, _ENQUEUED, "fail", "with its job: retry scheduled"),
    _step(_RUNNING, _ENQUEUED, "reap", "with its job: attempts left, or a claim that never started"),
    _step(_RUNNING, _ENQUEUED, "release_unstarted_job_claim", "with its job"),
    _step(_RUNNING, _ENQUEUED, "return_claims", "with its job"),
    # A leased job implies a running step; ENQUEUED is accepted all the same, so that no step outlives its
    # job.
    _step(_ENQUEUED, _SUCCEEDED, "complete", "end of its job"),
    _step(_RUNNING, _SUCCEEDED, "complete", "end of its job"),
    _step(_ENQUEUED, _FAILED, "fail", "end of its job: dead letter"),
    _step(_RUNNING, _FAILED, "fail", "end of its job: dead letter"),
    _step(_ENQUEUED, _FAILED, "reap", "end of its job: dead letter"),
    _step(_RUNNING, _FAILED, "reap", "end of its job: dead letter"),
    _step(_ENQUEUED, _CANCELED, "cancel", "end of its job"),
    _step(_RUNNING, _CANCELED, "cancel", "end of its job"),
    _step(_ENQUEUED, _CANCELED, "cancel_workflow_run", "with the run and its job"),
    _step(_RUNNING, _CANCELED, "cancel_workflow_run", "with the run and its job"),
    _step(_WAITING, _SUCCEEDED, "complete_external_step", "by the application"),
    _step(_WAITING, _FAILED, "complete_external_step", "by the application"),
    _step(_WAITING, _CANCELED, "complete_external_step", "by the application"),
    _step(_WAITING, _CANCELED, "cancel_workflow_run", "with the run"),
)
"""Every permitted move of a step; what is not listed does not happen."""

RUN_TRANSITIONS: tuple[WorkflowRunTransition, ...] = (
    _run(None, WorkflowRunStatus.RUNNING, "enqueue_workflow", "its status is derived before the call returns"),
    _run(
        WorkflowRunStatus.RUNNING,
        WorkflowRunStatus.WAITING_FOR_EXTERNAL,
        "derive_run_status",
        "only external gates are open",
    ),
    _run(
        WorkflowRunStatus.WAITING_FOR_EXTERNAL,
        WorkflowRunStatus.RUNNING,
        "derive_run_status",
        "a gate was completed or steps were appended: some step is blocked, enqueued or running",
    ),
    *(
        _run(open_status, end_status, operation, note)
        for open_status in (WorkflowRunStatus.RUNNING, WorkflowRunStatus.WAITING_FOR_EXTERNAL)
        for end_status, operation, note in (
            (WorkflowRunStatus.SUCCEEDED, "derive_run_status", "every step succeeded"),
            (
                WorkflowRunStatus.COMPLETED_WITH_ERRORS,
                "derive_run_status",
                "every step ended, not all succeeded",
            ),
            (
                WorkflowRunStatus.CANCELED,
                "cancel_workflow_run",
                "by anyone in scope; an ended run stays as it is",
            ),
        )
    ),
)
"""Every permitted move of a run; what is not listed does not happen."""
