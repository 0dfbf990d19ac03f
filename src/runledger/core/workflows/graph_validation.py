"""Whether steps make a workflow: each is sound by itself, and their dependencies have an order.

The builders ask, and so does whoever stores a run or appends to one: a record can be made without a builder. The first
rule that is broken is reported; the order is part of the promise:

1. the idempotency key, the workflow type, and that there are steps;
2. for each step in turn: its key, its job type and settings, and that no step before it has the key;
3. for each step in turn, for each dependency in turn: its key, that it is not the step itself, that it is listed once,
   that it exists;
4. that no steps wait for each other;
5. that the result step exists.

What the type of a value or its column forbids (a priority of 2**40, a key with a NUL) is an ordinary
:class:`~runledger.core.InvalidArgumentError`, where that value has its turn.

Time and memory grow with steps and dependencies, and nothing recurses: a chain of 10,000 steps is as good as any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta

from runledger.core.errors import InvalidArgumentError
from runledger.core.identifiers import check_identifier_text
from runledger.core.jobs.setting_checks import (
    check_idempotency_key,
    check_int32,
    check_organization_id,
    check_stage,
    check_whole_seconds,
)
from runledger.core.workflows.build_error import (
    blank_idempotency_key,
    blank_job_type,
    blank_prerequisite,
    blank_step_key,
    blank_workflow_type,
    cycle_detected,
    duplicate_dependency,
    duplicate_step_key,
    empty_steps,
    external_job_type,
    external_queue_setting,
    missing_dependency,
    missing_result_step,
    non_positive_max_attempts,
    non_positive_timeout,
    nothing_to_append,
    self_dependency,
    step_place,
)
from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode, WorkflowStepExecutionKind

_ZERO = timedelta(0)


def validate_workflow_run_enqueue(run: WorkflowRunEnqueue) -> None:
    """Refuse a run that is no workflow.

    Args:
        run: The whole request.

    Raises:
        WorkflowBuildError: It breaks a rule; ``code`` tells which, and the error names the step.
        InvalidArgumentError: A value has the wrong type, or PostgreSQL cannot store it; ``field`` tells where.
    """
    if not isinstance(run, WorkflowRunEnqueue):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            "workflow",
            f"is of type {type(run).__name__}",
            "pass a Workflow, or the WorkflowRunEnqueue that build() of a builder returns",
        )
    if run.idempotency_key is not None:
        if _is_blank(run.idempotency_key):
            raise blank_idempotency_key()
        check_idempotency_key(run.idempotency_key)
    validate_workflow_dag(run.workflow_type, run.steps)
    if run.organization_id is not None:
        check_organization_id("organization_id", run.organization_id)
    if run.result_step_key is not None:
        check_identifier_text("result_step_key", run.result_step_key)
        if all(step.step_key != run.result_step_key for step in run.steps):
            raise missing_result_step(run.result_step_key)


def validate_workflow_dag(workflow_type: str, steps: Sequence[WorkflowStepEnqueue]) -> None:
    """Refuse steps that are no workflow, whatever run they are meant for.

    Args:
        workflow_type: The kind of workflow.
        steps: All of its steps.

    Raises:
        WorkflowBuildError: As by :func:`validate_workflow_run_enqueue`.
        InvalidArgumentError: As by :func:`validate_workflow_run_enqueue`.
    """
    if _is_blank(workflow_type):
        raise blank_workflow_type()
    check_identifier_text("workflow_type", workflow_type)
    _check_is_list("steps", steps)
    if not steps:
        raise empty_steps()
    _validate_steps(steps, existing_step_keys=frozenset())


def validate_workflow_append(existing_step_keys: Iterable[str] | None, steps: Sequence[WorkflowStepEnqueue]) -> None:
    """Refuse steps that cannot be appended to a run.

    New steps may wait for existing ones and for each other. No existing step waits for a new one, so what exists
    already is part of no cycle.

    Args:
        existing_step_keys: The keys that the run has; ``None`` where they are not known yet, and each prerequisite that
            is no new step is taken for one of the run.
        steps: The new steps.

    Raises:
        WorkflowBuildError: As by :func:`validate_workflow_run_enqueue`.
        InvalidArgumentError: As by :func:`validate_workflow_run_enqueue`.
    """
    _check_is_list("steps", steps)
    if not steps:
        raise nothing_to_append()
    _validate_steps(steps, existing_step_keys=None if existing_step_keys is None else frozenset(existing_step_keys))


def validate_workflow_step(step: WorkflowStepEnqueue, *, index: int | None = None) -> None:
    """Refuse a step that can be part of no workflow; whether its prerequisites exist is not asked.

    Args:
        step: The step.
        index: Its position among others, for the text of errors.

    Raises:
        WorkflowBuildError: As by :func:`validate_workflow_run_enqueue`.
        InvalidArgumentError: As by :func:`validate_workflow_run_enqueue`.
    """
    _check_step(index, step)
    seen: set[str] = set()
    for place, dependency in enumerate(step.dependencies):
        _check_dependency(index, step.step_key, place, dependency)
        _check_distinct(index, step.step_key, place, dependency.prerequisite_step_key, seen)


def _validate_steps(steps: Sequence[WorkflowStepEnqueue], *, existing_step_keys: AbstractSet[str] | None) -> None:
    positions: dict[str, int] = {}
    for index, step in enumerate(steps):
        _check_step(index, step)
        if existing_step_keys is not None and step.step_key in existing_step_keys:
            raise duplicate_step_key(index, step.step_key, problem="is a step of the run already")
        if positions.setdefault(step.step_key, index) != index:
            raise duplicate_step_key(
                index, step.step_key, problem=f"is the key of steps[{positions[step.step_key]}] too"
            )

    prerequisites = [_prerequisites(index, step, positions, existing_step_keys) for index, step in enumerate(steps)]
    waiting = _unordered(prerequisites)
    if waiting:
        raise cycle_detected(tuple(steps[index].step_key for index in _one_cycle(prerequisites, waiting)))


def _check_step(index: int | None, step: WorkflowStepEnqueue) -> None:
    if not isinstance(step, WorkflowStepEnqueue):  # pyright: ignore[reportUnnecessaryIsInstance]
        place = "step" if index is None else f"steps[{index}]"
        raise InvalidArgumentError(place, f"is of type {type(step).__name__}", "pass a WorkflowStepEnqueue")
    if _is_blank(step.step_key):
        raise blank_step_key(index)
    check_identifier_text(step_place(index, "step_key"), step.step_key)
    # By identity: the text "EXTERNAL" is equal to the member, and whoever stores the step would have to know of both.
    if step.execution_kind is WorkflowStepExecutionKind.JOB:
        _check_job(index, step)
    elif step.execution_kind is WorkflowStepExecutionKind.EXTERNAL:
        _check_external(index, step)
    else:
        raise InvalidArgumentError(
            step_place(index, "execution_kind"),
            "is not a WorkflowStepExecutionKind",
            "pass a WorkflowStepExecutionKind",
        )
    if step.organization_id is not None:
        check_organization_id(step_place(index, "organization_id"), step.organization_id)
    _check_is_list(step_place(index, "dependencies"), step.dependencies)


def _check_job(index: int | None, step: WorkflowStepEnqueue) -> None:
    if step.job_type is None or _is_blank(step.job_type):
        raise blank_job_type(index, step.step_key)
    check_identifier_text(step_place(index, "job_type"), step.job_type)
    # As in a single enqueue: nearly all steps have no settings, and a comparison is all that they pay.
    if step.max_attempts is not None:
        if _is_non_positive(step.max_attempts):
            raise non_positive_max_attempts(index, step.step_key)
        check_int32(step_place(index, "max_attempts"), step.max_attempts, minimum=1)
    if step.timeout is not None:
        if _is_non_positive(step.timeout):
            raise non_positive_timeout(index, step.step_key)
        check_whole_seconds(step_place(index, "timeout"), step.timeout)
    if step.priority is not None:
        check_int32(step_place(index, "priority"), step.priority)
    if step.stage is not None:
        check_stage(step_place(index, "stage"), step.stage)


def _check_external(index: int | None, step: WorkflowStepEnqueue) -> None:
    if step.job_type is not None:
        raise external_job_type(index, step.step_key)
    for setting in ("priority", "max_attempts", "timeout", "stage"):
        if getattr(step, setting) is not None:
            raise external_queue_setting(index, step.step_key, setting=setting)


def _prerequisites(
    index: int, step: WorkflowStepEnqueue, positions: dict[str, int], existing_step_keys: AbstractSet[str] | None
) -> list[int]:
    """Return the positions of the new steps that a step waits for."""
    new: list[int] = []
    seen: set[str] = set()
    for place, dependency in enumerate(step.dependencies):
        _check_dependency(index, step.step_key, place, dependency)
        prerequisite = dependency.prerequisite_step_key
        _check_distinct(index, step.step_key, place, prerequisite, seen)
        position = positions.get(prerequisite)
        if position is not None:
            new.append(position)
        elif existing_step_keys is not None and prerequisite not in existing_step_keys:
            raise missing_dependency(index, step.step_key, prerequisite, place=place)
    return new


def _check_dependency(index: int | None, step_key: str, place: int, dependency: WorkflowStepDependencySpec) -> None:
    if not isinstance(dependency, WorkflowStepDependencySpec):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            step_place(index, f"dependencies[{place}]"),
            f"is of type {type(dependency).__name__}",
            "pass a WorkflowStepDependencySpec",
        )
    if _is_blank(dependency.prerequisite_step_key):
        raise blank_prerequisite(index, step_key, place=place)
    if not isinstance(dependency.prerequisite_step_key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            step_place(index, f"dependencies[{place}]"),
            f"names a step by a value of type {type(dependency.prerequisite_step_key).__name__}",
            "pass its key, a str",
        )
    mode = dependency.release_mode
    if mode is not None and not isinstance(mode, WorkflowDependencyReleaseMode):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            step_place(index, f"dependencies[{place}]"),
            f"has a release mode of type {type(mode).__name__}",
            "pass a WorkflowDependencyReleaseMode or None",
        )


def _check_distinct(index: int | None, step_key: str, place: int, prerequisite: str, seen: set[str]) -> None:
    if prerequisite == step_key:
        raise self_dependency(index, step_key, place=place)
    if prerequisite in seen:
        raise duplicate_dependency(index, step_key, prerequisite, place=place)
    seen.add(prerequisite)


def _unordered(prerequisites: list[list[int]]) -> list[int]:
    """Return the steps that have no place in any order: those on cycles, and those that wait for them (Kahn)."""
    dependents: list[list[int]] = [[] for _ in prerequisites]
    for index, before in enumerate(prerequisites):
        for position in before:
            dependents[position].append(index)
    pending = [len(before) for before in prerequisites]
    ready = [index for index, count in enumerate(pending) if count == 0]
    while ready:
        for dependent in dependents[ready.pop()]:
            pending[dependent] -= 1
            if pending[dependent] == 0:
                ready.append(dependent)
    return [index for index, count in enumerate(pending) if count > 0]


def _one_cycle(prerequisites: list[list[int]], waiting: list[int]) -> list[int]:
    """Return the steps of one cycle, each followed by one that it waits for, the earliest of them first."""
    # A step that waits has a prerequisite that waits: following these must come back to where it has been.
    is_waiting = set(waiting)
    place_on_walk: dict[int, int] = {}
    walk: list[int] = []
    current = waiting[0]
    while current not in place_on_walk:
        place_on_walk[current] = len(walk)
        walk.append(current)
        current = next(position for position in prerequisites[current] if position in is_waiting)
    cycle = walk[place_on_walk[current] :]
    earliest = cycle.index(min(cycle))
    return cycle[earliest:] + cycle[:earliest]


def _is_blank(text: object) -> bool:
    return isinstance(text, str) and not text.strip()


def _is_non_positive(value: object) -> bool:
    """Whether a number or duration is zero or less; what is neither is refused by the check that follows."""
    if isinstance(value, timedelta):
        return value <= _ZERO
    return isinstance(value, int) and not isinstance(value, bool) and value <= 0


def _check_is_list(field: str, value: object) -> None:
    # A text is a sequence too, and a generator would be empty when it is read for the second time.
    if not isinstance(value, (tuple, list)):
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass a tuple or list")
