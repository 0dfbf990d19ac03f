"""Workflows as they are written down: a step is a call, and what it returns says elsewhere what to wait for.

A step can wait only for steps that are there already, so what is written this way has no cycles and no unknown names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.identifiers import StepKey
from runledger.core.jobs.handler import JobContext
from runledger.core.json_form import JsonEncodable
from runledger.core.workflows.build_error import duplicate_step_key
from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.graph_validation import (
    validate_workflow_append,
    validate_workflow_run_enqueue,
    validate_workflow_step,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode, WorkflowStepExecutionKind


@dataclass(frozen=True, slots=True, eq=False)
class WorkflowStepHandle:
    """A step of a workflow that is being written; pass it to ``after=`` of a later one.

    Attributes:
        key: The key of the step.
    """

    key: str
    _workflow: _Steps = field(repr=False)

    def belongs_to(self, workflow: _Steps) -> bool:
        """Whether the step is one of this workflow."""
        return self._workflow is workflow


StepHandles: TypeAlias = WorkflowStepHandle | Iterable[WorkflowStepHandle]
"""One step or several."""


class _Steps:
    """What :class:`Workflow` and :class:`WorkflowAppend` have in common: steps, made one by one."""

    __slots__ = ("_keys", "_steps")

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._steps: list[WorkflowStepEnqueue] = []

    def job(
        self,
        key: str,
        job_type: str,
        payload: JsonEncodable = None,
        *,
        after: StepHandles = (),
        after_terminal: StepHandles = (),
        organization_id: UUID | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | None = None,
        stage: str | None = None,
    ) -> WorkflowStepHandle:
        """Add a step that a worker carries out.

        Args:
            key: Its name, unique in the run.
            job_type: The kind of its job; needs an enabled definition when the run is enqueued.
            payload: Any JSON value, or an instance of what the handler's annotation names.
            after: Steps, one or several, that must have succeeded. When one has not, this step is canceled.
            after_terminal: Steps, one or several, that must have ended, in whatever way.
            organization_id: The tenant that the step belongs to; ``None`` takes that of the run.
            priority: Higher runs first; ``None`` takes the definition's.
            max_attempts: How often the job may be tried; ``None`` takes the definition's.
            timeout: How long one attempt may take, in whole seconds; ``None`` takes the definition's.
            stage: The stage that the job starts with; ``None`` is ``queued``.

        Raises:
            WorkflowBuildError: The step breaks a rule, or its key is taken; ``code`` tells which.
            InvalidArgumentError: A value has the wrong type, PostgreSQL cannot store it, or what to wait for is no
                step of this workflow.
        """
        return self._add(
            WorkflowStepEnqueue(
                step_key=key,
                job_type=job_type,
                organization_id=organization_id,
                payload=payload,
                priority=priority,
                max_attempts=max_attempts,
                timeout=timeout,
                stage=stage,
                dependencies=self._dependencies(after, after_terminal),
            )
        )

    def gate(
        self,
        key: str,
        payload: JsonEncodable = None,
        *,
        after: StepHandles = (),
        after_terminal: StepHandles = (),
        organization_id: UUID | None = None,
    ) -> WorkflowStepHandle:
        """Add a step that the application completes: an approval, an answer from elsewhere.

        Args:
            key: Its name, unique in the run.
            payload: Any JSON value, for whoever decides.
            after: Steps, one or several, that must have succeeded. When one has not, the gate is canceled.
            after_terminal: Steps, one or several, that must have ended, in whatever way.
            organization_id: The tenant that the step belongs to; ``None`` takes that of the run.

        Raises:
            WorkflowBuildError: As by :meth:`job`.
            InvalidArgumentError: As by :meth:`job`.
        """
        return self._add(
            WorkflowStepEnqueue(
                step_key=key,
                execution_kind=WorkflowStepExecutionKind.EXTERNAL,
                organization_id=organization_id,
                payload=payload,
                dependencies=self._dependencies(after, after_terminal),
            )
        )

    def _add(self, step: WorkflowStepEnqueue) -> WorkflowStepHandle:
        # Checked now and not only when all is built: the traceback shows the line that is wrong.
        index = len(self._steps)
        validate_workflow_step(step, index=index)
        if step.step_key in self._keys:
            raise duplicate_step_key(index, step.step_key, problem="is the key of an earlier step too")
        self._keys.add(step.step_key)
        self._steps.append(step)
        return WorkflowStepHandle(step.step_key, self)

    def _dependencies(self, after: StepHandles, after_terminal: StepHandles) -> tuple[WorkflowStepDependencySpec, ...]:
        on_success, on_terminal = WorkflowDependencyReleaseMode.ON_SUCCESS, WorkflowDependencyReleaseMode.ON_TERMINAL
        return (
            *(self._dependency("after", handle, on_success) for handle in _each("after", after)),
            *(
                self._dependency("after_terminal", handle, on_terminal)
                for handle in _each("after_terminal", after_terminal)
            ),
        )

    def _dependency(
        self, argument: str, handle: WorkflowStepHandle, mode: WorkflowDependencyReleaseMode
    ) -> WorkflowStepDependencySpec:
        self._check_handle(argument, handle)
        return WorkflowStepDependencySpec(prerequisite_step_key=handle.key, release_mode=mode)

    def _check_handle(self, argument: str, handle: object) -> None:
        if not isinstance(handle, WorkflowStepHandle):
            raise InvalidArgumentError(
                argument,
                f"contains a value of type {type(handle).__name__}",
                "pass steps that job() or gate() returned",
            )
        if not handle.belongs_to(self):
            raise InvalidArgumentError(argument, "contains a step of another workflow", "pass steps of this one")


class Workflow(_Steps):
    """A workflow, written step by step.

    Each step is checked when it is added, all of them by :meth:`build`::

        flow = Workflow("release")
        found = flow.job("discover", "release.discover")
        built = [flow.job(f"build-{name}", "release.build", {"package": name}, after=found) for name in names]
        approved = flow.gate("approve", after=built)
        published = flow.job("publish", "release.publish", after=approved)
        flow.job("report", "release.report", after_terminal=[*built, published])
        flow.result_step(published)
        run = flow.build()

    Args:
        workflow_type: The kind of workflow; a label.
        metadata: Any JSON value about the run as a whole; an empty object when not given.
        organization_id: The tenant that the run belongs to; ``None`` is the global scope.
        idempotency_key: Makes the request repeatable, in the scope of workflow type and organization. At most 1,024
            bytes in UTF-8.
    """

    __slots__ = ("_idempotency_key", "_metadata", "_organization_id", "_result_step_key", "_workflow_type")

    def __init__(
        self,
        workflow_type: str,
        *,
        metadata: JsonEncodable = None,
        organization_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__()
        self._workflow_type = workflow_type
        self._metadata: JsonEncodable = {} if metadata is None else metadata
        self._organization_id = organization_id
        self._idempotency_key = idempotency_key
        self._result_step_key: str | None = None

    def result_step(self, step: WorkflowStepHandle) -> None:
        """Declare the output of a step to be the result of the run; the last declaration counts.

        Raises:
            InvalidArgumentError: It is no step of this workflow.
        """
        self._check_handle("step", step)
        self._result_step_key = step.key

    def build(self) -> WorkflowRunEnqueue:
        """Return the request, checked as a whole. Steps that are added later are not in it.

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


class WorkflowAppend(_Steps):
    """Steps to append to a run that is under way.

    They are written like a :class:`Workflow`::

        more = WorkflowAppend()
        found = more.existing("discover")
        built = [more.job(f"build-{name}", "release.build", {"package": name}, after=found) for name in names]
        more.job("merge", "release.merge", after=built)
        steps = more.build()

    New steps wait for each other and for steps of the run; steps of the run never wait for new ones. In a handler
    :meth:`this_step` is the step that it carries out.
    """

    __slots__ = ("_existing",)

    def __init__(self) -> None:
        super().__init__()
        self._existing: set[str] = set()

    def existing(self, key: str) -> WorkflowStepHandle:
        """Return a step of the run, to wait for; whether the run has it is asked when the steps are appended.

        Raises:
            BlankStepKeyError: The key is blank.
            InvalidArgumentError: The key is no text, holds what PostgreSQL cannot store, or is that of a new step.
        """
        step_key = StepKey(key)
        if step_key in self._keys and step_key not in self._existing:
            raise InvalidArgumentError("key", "is that of a new step", "pass what job() or gate() returned for it")
        self._keys.add(step_key)
        self._existing.add(step_key)
        return WorkflowStepHandle(step_key, self)

    def this_step(self, context: JobContext) -> WorkflowStepHandle:
        """Return the step that a handler carries out, to wait for.

        Args:
            context: The context of the handler.

        Raises:
            InvalidArgumentError: The job belongs to no workflow, or a new step has the key of its step.
        """
        if context.workflow_step_key is None:
            raise InvalidArgumentError(
                "context", "is of a job that belongs to no workflow", "look at `context.workflow_run_id` first"
            )
        return self.existing(context.workflow_step_key)

    def build(self) -> tuple[WorkflowStepEnqueue, ...]:
        """Return the new steps, checked together. Steps that are added later are not among them.

        Raises:
            WorkflowBuildError: There is none.
        """
        validate_workflow_append(self._existing, self._steps)
        return tuple(self._steps)


def _each(argument: str, handles: StepHandles) -> Iterable[WorkflowStepHandle]:
    if isinstance(handles, WorkflowStepHandle):
        return (handles,)
    if isinstance(handles, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        return handles
    raise InvalidArgumentError(argument, f"is of type {type(handles).__name__}", "pass a step or a list of steps")
