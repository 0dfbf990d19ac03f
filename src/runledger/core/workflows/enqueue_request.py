"""The request to enqueue a workflow run: its steps, their settings, and what each step waits for.

These records are plain data. Whether they make a workflow is for ``graph_validation`` to say, since a rule about many
steps cannot be checked by one of them: the builders ask it, and whoever stores a run asks it again.

Their ``repr`` leaves out payloads, metadata and idempotency keys, so that a request can be logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from runledger.core.jobs.status import JobStage
from runledger.core.json_form import JsonEncodable
from runledger.core.workflows.status import WorkflowDependencyReleaseMode, WorkflowStepExecutionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepDependencySpec:
    """What a step waits for.

    Attributes:
        prerequisite_step_key: The step that must end first.
        release_mode: Which of its ends will do; ``None`` is ON_TERMINAL.
    """

    prerequisite_step_key: str
    release_mode: WorkflowDependencyReleaseMode | None = None

    @property
    def effective_release_mode(self) -> WorkflowDependencyReleaseMode:
        """The mode as it is stored."""
        return self.release_mode or WorkflowDependencyReleaseMode.ON_TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepEnqueue:
    """One step of a request.

    Attributes:
        step_key: Its name, unique in the run; at most 1,024 bytes in UTF-8.
        execution_kind: Whether a job or the application carries it out.
        job_type: The kind of its job; ``None`` for EXTERNAL.
        organization_id: The tenant that the step belongs to; ``None`` takes that of the run.
        payload: Any JSON value, or an instance of what the handler's annotation names. It is encoded when the request
            is sent: do not change it in between.
        priority: Higher runs first; ``None`` takes the definition's. Only for JOB, as are the next three.
        max_attempts: How often the job may be tried; ``None`` takes the definition's.
        timeout: How long one attempt may take, in whole seconds; ``None`` takes the definition's.
        stage: The stage that the job starts with; ``None`` is ``queued``.
        dependencies: What it waits for; a step without any is a root, and is released when the run is enqueued.
    """

    step_key: str
    execution_kind: WorkflowStepExecutionKind = WorkflowStepExecutionKind.JOB
    job_type: str | None = None
    organization_id: UUID | None = None
    payload: JsonEncodable = field(default=None, repr=False)
    priority: int | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    stage: str | None = None
    dependencies: Sequence[WorkflowStepDependencySpec] = ()

    @property
    def timeout_seconds(self) -> int | None:
        """The timeout as the database has it."""
        return None if self.timeout is None else int(self.timeout.total_seconds())

    @property
    def effective_stage(self) -> str | None:
        """The stage as it is stored; ``None`` for EXTERNAL."""
        if self.execution_kind is WorkflowStepExecutionKind.EXTERNAL:
            return None
        return JobStage.QUEUED if self.stage is None else self.stage


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRunEnqueue:
    """A whole run as a caller asks for it.

    Attributes:
        workflow_type: The kind of workflow; a label.
        organization_id: The tenant that the run belongs to; ``None`` is the global scope.
        idempotency_key: Makes the request repeatable, in the scope of workflow type and organization. At most 1,024
            bytes in UTF-8.
        metadata: Any JSON value about the run as a whole.
        result_step_key: The step whose output is the result of the run.
        steps: The steps, in the order in which they are stored.
    """

    workflow_type: str
    organization_id: UUID | None = None
    idempotency_key: str | None = field(default=None, repr=False)
    metadata: JsonEncodable = field(default_factory=dict[str, JsonEncodable], repr=False)
    result_step_key: str | None = None
    steps: Sequence[WorkflowStepEnqueue] = field(default=(), repr=False)
