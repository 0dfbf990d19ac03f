"""Builders of a step and of a run, setting by setting.

For code that reads a workflow from somewhere; to write one down, ``Workflow`` reads better.

A builder keeps what it is given and checks nothing before ``build``. ``StepKey("…")``, ``JobType("…")`` and
``WorkflowType("…")`` refuse a blank text at once; a plain text is checked with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Self
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.status import JobStage
from runledger.core.json_form import JsonEncodable
from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.graph_validation import validate_workflow_run_enqueue, validate_workflow_step
from runledger.core.workflows.status import WorkflowDependencyReleaseMode, WorkflowStepExecutionKind


class WorkflowStepEnqueueBuilder:
    """Builds one step. Methods return the builder.

    Args:
        step_key: Its name, unique in the run.
        job_type: The kind of its job.
        payload: Any JSON value, or an instance of what the handler's annotation names.
    """

    __slots__ = (
        "_dependencies",
        "_execution_kind",
        "_job_type",
        "_max_attempts",
        "_organization_id",
        "_payload",
        "_priority",
        "_stage",
        "_step_key",
        "_timeout",
    )

    def __init__(self, step_key: str, job_type: str | None, payload: JsonEncodable = None) -> None:
        self._step_key = step_key
        self._execution_kind = WorkflowStepExecutionKind.JOB
        self._job_type = job_type
        self._payload = payload
        self._organization_id: UUID | None = None
        self._priority: int | None = None
        self._max_attempts: int | None = None
        self._timeout: timedelta | None = None
        self._stage: str | None = JobStage.QUEUED
        self._dependencies: list[WorkflowStepDependencySpec] = []

    @classmethod
    def external(cls, step_key: str, payload: JsonEncodable = None) -> Self:
        """Return the builder of a step that the application completes: without job type, settings and stage."""
        builder = cls(step_key, None, payload)
        builder._execution_kind = WorkflowStepExecutionKind.EXTERNAL
        builder._stage = None
        return builder

    def organization_id(self, organization_id: UUID) -> Self:
        """Give the step a tenant of its own."""
        self._organization_id = organization_id
        return self

    def clear_organization_id(self) -> Self:
        """Give the step the tenant of the run."""
        self._organization_id = None
        return self

    def priority(self, priority: int) -> Self:
        """Set the priority; higher runs first."""
        self._priority = priority
        return self

    def clear_priority(self) -> Self:
        """Take the priority of the definition."""
        self._priority = None
        return self

    def max_attempts(self, max_attempts: int) -> Self:
        """Set how often the job may be tried."""
        self._max_attempts = max_attempts
        return self

    def clear_max_attempts(self) -> Self:
        """Take the attempts of the definition."""
        self._max_attempts = None
        return self

    def timeout(self, timeout: timedelta) -> Self:
        """Set how long one attempt may take, in whole seconds."""
        self._timeout = timeout
        return self

    def clear_timeout(self) -> Self:
        """Take the timeout of the definition."""
        self._timeout = None
        return self

    def stage(self, stage: str) -> Self:
        """Set the stage that the job starts with."""
        self._stage = stage
        return self

    def clear_stage(self) -> Self:
        """Leave the stage unset; a job is stored with ``queued`` then."""
        self._stage = None
        return self

    def set_dependencies(self, dependencies: Iterable[WorkflowStepDependencySpec]) -> Self:
        """Replace what the step waits for."""
        self._dependencies = list(dependencies)
        return self

    def dependency(self, dependency: WorkflowStepDependencySpec) -> Self:
        """Add one step to wait for."""
        self._dependencies.append(dependency)
        return self

    def depends_on_terminal(self, step_keys: str | Iterable[str]) -> Self:
        """Add steps, one or several, that must have ended, in whatever way."""
        return self._depend(step_keys, WorkflowDependencyReleaseMode.ON_TERMINAL)

    def depends_on_success(self, step_keys: str | Iterable[str]) -> Self:
        """Add steps, one or several, that must have succeeded."""
        return self._depend(step_keys, WorkflowDependencyReleaseMode.ON_SUCCESS)

    def build(self) -> WorkflowStepEnqueue:
        """Return the step, checked by itself; whether its prerequisites exist is for the run to say.

        Raises:
            WorkflowBuildError: It breaks a rule of workflows; ``code`` tells which.
            InvalidArgumentError: A value has the wrong type, or PostgreSQL cannot store it.
        """
        step = self.unchecked()
        validate_workflow_step(step)
        return step

    def unchecked(self) -> WorkflowStepEnqueue:
        """Return the step as it is; whoever builds or stores a run with it checks it then."""
        return WorkflowStepEnqueue(
            step_key=self._step_key,
            execution_kind=self._execution_kind,
            job_type=self._job_type,
            organization_id=self._organization_id,
            payload=self._payload,
            priority=self._priority,
            max_attempts=self._max_attempts,
            timeout=self._timeout,
            stage=self._stage,
            dependencies=tuple(self._dependencies),
        )

    def _depend(self, step_keys: str | Iterable[str], release_mode: WorkflowDependencyReleaseMode) -> Self:
        self._dependencies += dependencies_on(step_keys, release_mode)
        return self


class WorkflowRunEnqueueBuilder:
    """Builds a run from steps that know what they wait for. Methods return the builder.

    Args:
        workflow_type: The kind of workflow; a label.
        metadata: Any JSON value about the run as a whole; an empty object when not given.
    """

    __slots__ = ("_idempotency_key", "_metadata", "_organization_id", "_result_step_key", "_steps", "_workflow_type")

    def __init__(self, workflow_type: str, metadata: JsonEncodable = None) -> None:
        self._workflow_type = workflow_type
        self._metadata: JsonEncodable = {} if metadata is None else metadata
        self._organization_id: UUID | None = None
        self._idempotency_key: str | None = None
        self._result_step_key: str | None = None
        self._steps: list[WorkflowStepEnqueue] = []

    def organization_id(self, organization_id: UUID) -> Self:
        """Set the tenant that the run belongs to."""
        self._organization_id = organization_id
        return self

    def clear_organization_id(self) -> Self:
        """Let the run belong to no tenant."""
        self._organization_id = None
        return self

    def idempotency_key(self, idempotency_key: str) -> Self:
        """Make the request repeatable, in the scope of workflow type and organization."""
        self._idempotency_key = idempotency_key
        return self

    def clear_idempotency_key(self) -> Self:
        """Let each request make a run of its own."""
        self._idempotency_key = None
        return self

    def result_step(self, step_key: str) -> Self:
        """Declare the output of a step to be the result of the run."""
        self._result_step_key = step_key
        return self

    def clear_result_step(self) -> Self:
        """Let the run have no result."""
        self._result_step_key = None
        return self

    def step(self, step: WorkflowStepEnqueue | WorkflowStepEnqueueBuilder) -> Self:
        """Add a step."""
        self._steps.append(as_step(step))
        return self

    def set_steps(self, steps: Iterable[WorkflowStepEnqueue | WorkflowStepEnqueueBuilder]) -> Self:
        """Replace all steps."""
        self._steps = [as_step(step) for step in steps]
        return self

    def extend_steps(self, steps: Iterable[WorkflowStepEnqueue | WorkflowStepEnqueueBuilder]) -> Self:
        """Add steps."""
        self._steps += [as_step(step) for step in steps]
        return self

    def build(self) -> WorkflowRunEnqueue:
        """Return the request, checked as a whole.

        Raises:
            WorkflowBuildError: It breaks a rule of workflows; ``code`` tells which.
            InvalidArgumentError: A value has the wrong type, or PostgreSQL cannot store it.
        """
        run = WorkflowRunEnqueue(
            workflow_type=self._workflow_type,
            organization_id=self._organization_id,
            idempotency_key=self._idempotency_key,
            metadata=self._metadata,
            result_step_key=self._result_step_key,
            steps=tuple(self._steps),
        )
        validate_workflow_run_enqueue(run)
        return run


def dependencies_on(
    step_keys: str | Iterable[str], release_mode: WorkflowDependencyReleaseMode
) -> list[WorkflowStepDependencySpec]:
    """Return a dependency on each of one or several steps, in their order."""
    # A text is a sequence of its letters, which are never meant.
    keys = (step_keys,) if isinstance(step_keys, str) else step_keys
    return [WorkflowStepDependencySpec(prerequisite_step_key=key, release_mode=release_mode) for key in keys]


def as_step(step: WorkflowStepEnqueue | WorkflowStepEnqueueBuilder) -> WorkflowStepEnqueue:
    """Return a step as it is now, whether it was built already or not."""
    if isinstance(step, WorkflowStepEnqueueBuilder):
        return step.unchecked()
    if isinstance(step, WorkflowStepEnqueue):  # pyright: ignore[reportUnnecessaryIsInstance]
        return step
    raise InvalidArgumentError("step", f"is of type {type(step).__name__}", "pass a WorkflowStepEnqueue or its builder")
