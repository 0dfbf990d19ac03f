"""Rows of workflow runs, steps and dependencies as values.

Their ``repr`` leaves out payloads, metadata, outputs, results, idempotency keys and error messages, so that a record
can be logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from runledger.core.json_value import JsonValue
from runledger.core.workflows.run_outcome import StepCounts
from runledger.core.workflows.status import (
    WorkflowDependencyReleaseMode,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRunRecord:
    """A run of a workflow.

    Attributes:
        id: The run.
        workflow_type: The kind of workflow.
        organization_id: The tenant that it belongs to, or ``None``.
        status: Its status.
        idempotency_key: The key that it was enqueued with, or ``None``.
        metadata: The metadata of the run, as the request had them.
        result_step_key: The step whose output is the result, or ``None``.
        result: The output of that step, once it has succeeded.
        has_result: Whether that step has succeeded; an output may be ``None``.
        step_counts: How many of its steps have which status.
        started_at: When it was enqueued.
        finished_at: When it ended, or ``None``.
        created_at: When the row was made.
        updated_at: When it was last changed.
    """

    id: UUID
    workflow_type: str
    organization_id: UUID | None
    status: WorkflowRunStatus
    idempotency_key: str | None = field(repr=False)
    metadata: JsonValue = field(repr=False)
    result_step_key: str | None
    result: JsonValue = field(repr=False)
    has_result: bool
    step_counts: StepCounts
    started_at: datetime
    finished_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepRecord:
    """A step of a run.

    Attributes:
        id: The step.
        workflow_run_id: Its run.
        step_key: Its name in the run.
        execution_kind: Whether a job or the application carries it out.
        job_type: The kind of its job; ``None`` for EXTERNAL, as are the four settings below.
        organization_id: The tenant that the step belongs to, or ``None``.
        payload: What its job gets.
        priority: The priority of its job.
        max_attempts: The attempts of its job.
        timeout_seconds: How long an attempt of its job may take.
        stage: That its job starts with.
        status: Its status.
        job_id: Its job, from its release on.
        output: What its job returned, or the application gave when it completed the gate.
        released_at: When all it waits for had ended.
        started_at: When its job was first claimed.
        finished_at: When it ended.
        dependency_count_total: How many steps it waits for.
        dependency_count_pending: How many of them have not ended.
        dependency_count_unsatisfied: How many of them ended in a way that will not do.
        status_reason: Why it is where it is, where there is something to say.
        last_error_code: Of the last failed attempt, or of what ended it.
        last_error_message: The text that goes with it.
        created_at: When it was enqueued or appended.
        updated_at: When it was last changed.
    """

    id: UUID
    workflow_run_id: UUID
    step_key: str
    execution_kind: WorkflowStepExecutionKind
    job_type: str | None
    organization_id: UUID | None
    payload: JsonValue = field(repr=False)
    priority: int | None
    max_attempts: int | None
    timeout_seconds: int | None
    stage: str | None
    status: WorkflowStepStatus
    job_id: UUID | None
    output: JsonValue = field(repr=False)
    released_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    dependency_count_total: int
    dependency_count_pending: int
    dependency_count_unsatisfied: int
    status_reason: str | None
    last_error_code: str | None
    last_error_message: str | None = field(repr=False)
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowPrerequisite:
    """How a step ended that another one waited for, as the handler of the other one sees it.

    Attributes:
        step_key: Its name in the run.
        status: How it ended.
        output: What its job returned, or the application gave when it completed the gate, with whatever status.
        status_reason: Why it ended so, where there is something to say.
        last_error_code: Of the last failed attempt, or of what ended it. A step that succeeded at last keeps none.
        last_error_message: The text that goes with it.
    """

    step_key: str
    status: WorkflowStepStatus
    output: JsonValue = field(repr=False)
    status_reason: str | None
    last_error_code: str | None
    last_error_message: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedStep:
    """What a step waits for whose job waits in the queue.

    Attributes:
        step_id: The step.
        job_id: Its job.
        job_type: The kind of its job.
        attempt: How many attempts there have been.
        max_attempts: How many there may be.
        next_run_at: When the job is due.
        last_error_code: The code of the last failed attempt, or ``None``.
        is_type_paused: Whether its type is paused; nobody claims it then.
        is_type_served: Whether a worker serves its type that is live and does not stop. Workers of an application's own
            loop are not known unless they register themselves.
    """

    step_id: UUID
    job_id: UUID
    job_type: str
    attempt: int
    max_attempts: int
    next_run_at: datetime
    last_error_code: str | None
    is_type_paused: bool
    is_type_served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedGate(WorkflowStepRecord):
    """A gate that has ended, as the answer to whoever completed it.

    Attributes:
        was_completed_already: Whether it had ended with this status before, so that the call changed nothing. Output,
            reason and error are those of the first time then.
    """

    was_completed_already: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepDependency:
    """One edge of a run.

    Attributes:
        workflow_run_id: The run.
        prerequisite_step_id: The step that must end first.
        prerequisite_step_key: The name of the prerequisite.
        dependent_step_id: The step that waits.
        dependent_step_key: The name of the dependent step.
        release_mode: With which ends of the prerequisite the dependency is met.
    """

    workflow_run_id: UUID
    prerequisite_step_id: UUID
    prerequisite_step_key: str
    dependent_step_id: UUID
    dependent_step_key: str
    release_mode: WorkflowDependencyReleaseMode


class WorkflowAppendOutcome(StrEnum):
    """What an append did."""

    APPENDED = "APPENDED"
    """The steps are new."""

    ALREADY_APPLIED = "ALREADY_APPLIED"
    """An earlier call with the same mutation key and the same steps has appended them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowAppendResult:
    """What an append did, and to which run.

    Attributes:
        outcome: Whether the steps are new.
        run: The run as it is now.
        steps: The appended steps as they are now, in the order of the request.
    """

    outcome: WorkflowAppendOutcome
    run: WorkflowRunRecord
    steps: tuple[WorkflowStepRecord, ...]
