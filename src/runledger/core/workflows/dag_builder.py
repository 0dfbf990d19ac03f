"""Builder of a run whose steps and edges are declared apart, by key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Self
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.json_form import JsonEncodable
from runledger.core.workflows.build_error import unknown_step_key
from runledger.core.workflows.builder import (
    WorkflowRunEnqueueBuilder,
    WorkflowStepEnqueueBuilder,
    as_step,
    dependencies_on,
)
from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode, WorkflowStepExecutionKind


class WorkflowDagBuilder:
    """Builds a run from steps and, apart from them, edges between keys. Methods return the builder.

    For workflows that are read from somewhere, since an edge may be declared before the steps that it joins::

        run = (
            WorkflowDagBuilder("release")
            .job("build", "release.build")
            .external("approve")
            .job("publish", "release.publish")
            .after_success("publish", ["build", "approve"])
            .build()
        )

    Nothing is checked before ``build``.

    Args:
        workflow_type: The kind of workflow; a label.
        metadata: Any JSON value about the run as a whole; an empty object when not given.
    """

    __slots__ = ("_edges", "_run", "_steps")

    def __init__(self, workflow_type: str, metadata: JsonEncodable = None) -> None:
        self._run = WorkflowRunEnqueueBuilder(workflow_type, metadata)
        self._steps: list[WorkflowStepEnqueue] = []
        self._edges: dict[str, list[WorkflowStepDependencySpec]] = {}

    def organization_id(self, organization_id: UUID) -> Self:
        """Set the tenant that the run belongs to."""
        self._run.organization_id(organization_id)
        return self

    def idempotency_key(self, idempotency_key: str) -> Self:
        """Make the request repeatable, in the scope of workflow type and organization."""
        self._run.idempotency_key(idempotency_key)
        return self

    def result_step(self, step_key: str) -> Self:
        """Declare the output of a step to be the result of the run."""
        self._run.result_step(step_key)
        return self

    def job(
        self,
        step_key: str,
        job_type: str,
        payload: JsonEncodable = None,
        *,
        organization_id: UUID | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | None = None,
        stage: str | None = None,
    ) -> Self:
        """Add a step that a worker carries out; the arguments are the fields of :class:`WorkflowStepEnqueue`."""
        self._steps.append(
            WorkflowStepEnqueue(
                step_key=step_key,
                job_type=job_type,
                organization_id=organization_id,
                payload=payload,
                priority=priority,
                max_attempts=max_attempts,
                timeout=timeout,
                stage=stage,
            )
        )
        return self

    def external(self, step_key: str, payload: JsonEncodable = None, *, organization_id: UUID | None = None) -> Self:
        """Add a step that the application completes."""
        self._steps.append(
            WorkflowStepEnqueue(
                step_key=step_key,
                execution_kind=WorkflowStepExecutionKind.EXTERNAL,
                organization_id=organization_id,
                payload=payload,
            )
        )
        return self

    def step(self, step: WorkflowStepEnqueue | WorkflowStepEnqueueBuilder) -> Self:
        """Add a step that was built elsewhere. What it waits for already comes before the edges declared here."""
        self._steps.append(as_step(step))
        return self

    def after_success(self, step_key: str, prerequisite_step_keys: str | Iterable[str]) -> Self:
        """Let a step wait until others, one or several, have succeeded."""
        return self._after(step_key, prerequisite_step_keys, WorkflowDependencyReleaseMode.ON_SUCCESS)

    def after_terminal(self, step_key: str, prerequisite_step_keys: str | Iterable[str]) -> Self:
        """Let a step wait until others, one or several, have ended, in whatever way."""
        return self._after(step_key, prerequisite_step_keys, WorkflowDependencyReleaseMode.ON_TERMINAL)

    def build(self) -> WorkflowRunEnqueue:
        """Return the request, checked as a whole.

        Raises:
            WorkflowBuildError: An edge is declared for a step that is not, or a rule of workflows is broken; ``code``
                tells which. Edges come first.
            InvalidArgumentError: A value has the wrong type, or PostgreSQL cannot store it.
        """
        self._check_edges()
        return self._run.set_steps(self._with_edges(step) for step in self._steps).build()

    def _after(
        self, step_key: str, prerequisite_step_keys: str | Iterable[str], mode: WorkflowDependencyReleaseMode
    ) -> Self:
        if not isinstance(step_key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("step_key", f"is of type {type(step_key).__name__}", "pass a str")
        self._edges.setdefault(step_key, []).extend(dependencies_on(prerequisite_step_keys, mode))
        return self

    def _check_edges(self) -> None:
        declared = {step.step_key for step in self._steps}
        for step_key, dependencies in self._edges.items():
            if step_key not in declared:
                raise unknown_step_key(step_key, *(spec.prerequisite_step_key for spec in dependencies[:1]))

    def _with_edges(self, step: WorkflowStepEnqueue) -> WorkflowStepEnqueue:
        edges = self._edges.get(step.step_key)
        return step if edges is None else replace(step, dependencies=(*step.dependencies, *edges))
