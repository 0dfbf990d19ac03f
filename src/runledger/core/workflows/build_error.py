"""Why a workflow, or steps to append to one, cannot be built: one function for each case."""

from __future__ import annotations

from collections.abc import Iterable

from runledger.core.errors import InvalidArgumentError
from runledger.core.printable import shortened

_SHOWN_CYCLE_KEYS = 6


class WorkflowBuildError(InvalidArgumentError):
    """Steps do not make a workflow.

    The text names the steps, each key printable and cut to a hundred characters; ``client_message`` names none.

    Attributes:
        code: The case, ``workflow.invalid_dag_…``.
        client_message: The rule that is broken, in one sentence without keys, to show to anyone.
        step_key: The step that breaks it, or ``None``. Where the key itself is blank, ``step_index`` tells which.
        step_index: Position of the step among those given, from zero; ``None`` where a step was built alone.
        prerequisite_step_key: The prerequisite of that step that breaks it, or ``None``.
        cycle: Keys of steps that wait for each other, each for the next one and the last one for the first; else empty.
    """

    def __init__(
        self,
        code: str,
        *,
        field: str,
        problem: str,
        remedy: str,
        client_message: str,
        step_key: str | None = None,
        step_index: int | None = None,
        prerequisite_step_key: str | None = None,
        cycle: tuple[str, ...] = (),
    ) -> None:
        super().__init__(field, problem, remedy, code=code)
        self.client_message = client_message
        self.step_key = step_key
        self.step_index = step_index
        self.prerequisite_step_key = prerequisite_step_key
        self.cycle = cycle


def step_place(index: int | None, field: str) -> str:
    """Return how errors name a field of a step: by the step's position, or alone where there is one step only."""
    return field if index is None else f"steps[{index}].{field}"


def empty_steps() -> WorkflowBuildError:
    """No step was given."""
    return WorkflowBuildError(
        "workflow.invalid_dag_empty",
        field="steps",
        problem="is empty",
        remedy="add at least one step",
        client_message="a workflow needs at least one step",
    )


def nothing_to_append() -> WorkflowBuildError:
    """No step to append was given."""
    return WorkflowBuildError(
        "workflow.invalid_dag_empty",
        field="steps",
        problem="is empty",
        remedy="append only when there is something to append",
        client_message="there is no step to append to the workflow",
    )


def blank_workflow_type() -> WorkflowBuildError:
    """The workflow type is blank."""
    return WorkflowBuildError(
        "workflow.invalid_dag_workflow_type_blank",
        field="workflow_type",
        problem="is blank",
        remedy="name the workflow type, for example 'order.fulfil'",
        client_message="a workflow needs a type",
    )


def blank_idempotency_key() -> WorkflowBuildError:
    """The idempotency key is given and blank."""
    return WorkflowBuildError(
        "workflow.invalid_dag_idempotency_key_blank",
        field="idempotency_key",
        problem="is blank",
        remedy="name the request, for example 'order-17/fulfil', or pass None",
        client_message="the idempotency key of a workflow must not be blank",
    )


def blank_step_key(index: int | None) -> WorkflowBuildError:
    """A step key is blank."""
    return WorkflowBuildError(
        "workflow.invalid_dag_step_key_blank",
        field=step_place(index, "step_key"),
        problem="is blank",
        remedy="give the step a key, for example 'charge_card'",
        client_message="each step of a workflow needs a key",
        step_index=index,
    )


def blank_job_type(index: int | None, step_key: str) -> WorkflowBuildError:
    """A JOB step has no job type, or a blank one."""
    return WorkflowBuildError(
        "workflow.invalid_dag_job_type_blank",
        field=step_place(index, "job_type"),
        problem=f"is blank, for step {_quoted(step_key)}",
        remedy="name the job type, for example 'email.send'",
        client_message="each job step of a workflow needs a job type",
        step_key=step_key,
        step_index=index,
    )


def non_positive_max_attempts(index: int | None, step_key: str) -> WorkflowBuildError:
    """The attempts of a step are zero or less."""
    return WorkflowBuildError(
        "workflow.invalid_dag_step_max_attempts_non_positive",
        field=step_place(index, "max_attempts"),
        problem=f"is not positive, for step {_quoted(step_key)}",
        remedy="pass 1 or more, or None for the definition's",
        client_message="a step of a workflow needs at least one attempt",
        step_key=step_key,
        step_index=index,
    )


def non_positive_timeout(index: int | None, step_key: str) -> WorkflowBuildError:
    """The timeout of a step is zero or less."""
    return WorkflowBuildError(
        "workflow.invalid_dag_step_timeout_seconds_non_positive",
        field=step_place(index, "timeout"),
        problem=f"is not positive, for step {_quoted(step_key)}",
        remedy="pass a second or more, or None for the definition's",
        client_message="the timeout of a workflow step must be positive",
        step_key=step_key,
        step_index=index,
    )


def external_job_type(index: int | None, step_key: str) -> WorkflowBuildError:
    """An EXTERNAL step has a job type."""
    return WorkflowBuildError(
        "workflow.invalid_dag_external_step_job_type_not_allowed",
        field=step_place(index, "job_type"),
        problem=f"is set, but step {_quoted(step_key)} is external",
        remedy="leave it out, or make the step a job",
        client_message="an external step has no job type",
        step_key=step_key,
        step_index=index,
    )


def external_queue_setting(index: int | None, step_key: str, *, setting: str) -> WorkflowBuildError:
    """An EXTERNAL step has a setting of jobs."""
    return WorkflowBuildError(
        "workflow.invalid_dag_external_step_queue_settings_not_allowed",
        field=step_place(index, setting),
        problem=f"is set, but step {_quoted(step_key)} is external and has no job",
        remedy="leave it out, or make the step a job",
        client_message="an external step has no priority, attempts, timeout or stage",
        step_key=step_key,
        step_index=index,
    )


def duplicate_step_key(index: int, step_key: str, *, problem: str) -> WorkflowBuildError:
    """Two steps have one key."""
    return WorkflowBuildError(
        "workflow.invalid_dag_duplicate_step_key",
        field=step_place(index, "step_key"),
        problem=f"{_quoted(step_key)} {problem}",
        remedy="give each step a key of its own",
        client_message="two steps of a workflow have the same key",
        step_key=step_key,
        step_index=index,
    )


def blank_prerequisite(index: int | None, step_key: str, *, place: int) -> WorkflowBuildError:
    """A step waits for a blank key."""
    return WorkflowBuildError(
        "workflow.invalid_dag_dependency_step_key_blank",
        field=step_place(index, f"dependencies[{place}]"),
        problem=f"is blank, for step {_quoted(step_key)}",
        remedy="name the step to wait for",
        client_message="a dependency of a workflow step names no step",
        step_key=step_key,
        step_index=index,
    )


def missing_dependency(index: int, step_key: str, prerequisite: str, *, place: int) -> WorkflowBuildError:
    """A step waits for one that does not exist."""
    return WorkflowBuildError(
        "workflow.invalid_dag_missing_dependency",
        field=step_place(index, f"dependencies[{place}]"),
        problem=f"step {_quoted(step_key)} waits for {_quoted(prerequisite)}, which is no step of the workflow",
        remedy="add that step, or correct the key",
        client_message="a step of a workflow depends on a step that does not exist",
        step_key=step_key,
        step_index=index,
        prerequisite_step_key=prerequisite,
    )


def self_dependency(index: int | None, step_key: str, *, place: int) -> WorkflowBuildError:
    """A step waits for itself."""
    return WorkflowBuildError(
        "workflow.invalid_dag_self_dependency",
        field=step_place(index, f"dependencies[{place}]"),
        problem=f"step {_quoted(step_key)} waits for itself",
        remedy="remove the dependency, or name another step",
        client_message="a step of a workflow depends on itself",
        step_key=step_key,
        step_index=index,
        prerequisite_step_key=step_key,
    )


def duplicate_dependency(index: int | None, step_key: str, prerequisite: str, *, place: int) -> WorkflowBuildError:
    """A step waits twice for one other."""
    return WorkflowBuildError(
        "workflow.invalid_dag_duplicate_dependency",
        field=step_place(index, f"dependencies[{place}]"),
        problem=f"step {_quoted(step_key)} waits for {_quoted(prerequisite)} twice",
        remedy="name each prerequisite once, with one release mode",
        client_message="a step of a workflow depends twice on the same step",
        step_key=step_key,
        step_index=index,
        prerequisite_step_key=prerequisite,
    )


def cycle_detected(cycle: tuple[str, ...]) -> WorkflowBuildError:
    """Steps wait for each other."""
    return WorkflowBuildError(
        "workflow.invalid_dag_cycle",
        field="steps",
        problem=f"wait for each other: {_shown_cycle(cycle)}",
        remedy="remove one of these dependencies",
        client_message="the dependencies of a workflow form a cycle",
        step_key=cycle[0],
        cycle=cycle,
    )


def missing_result_step(step_key: str) -> WorkflowBuildError:
    """The result is declared to be that of a step that does not exist."""
    return WorkflowBuildError(
        "workflow.invalid_dag_result_step_missing",
        field="result_step_key",
        problem=f"{_quoted(step_key)} is no step of the workflow",
        remedy="add that step, or correct the key",
        client_message="the result step of a workflow does not exist",
        step_key=step_key,
    )


def unknown_step_key(step_key: str, prerequisite: str | None = None) -> WorkflowBuildError:
    """Dependencies were declared for a step that was not, if only an empty list of them."""
    declaration = "" if prerequisite is None else f", declared to wait for {_quoted(prerequisite)},"
    return WorkflowBuildError(
        "workflow.invalid_dag_unknown_step_key",
        field="step_key",
        problem=f"{_quoted(step_key)}{declaration} is no step of the workflow",
        remedy="add that step, or correct the key",
        client_message="a dependency is declared for a step that does not exist",
        step_key=step_key,
        prerequisite_step_key=prerequisite,
    )


def _shown_cycle(cycle: tuple[str, ...]) -> str:
    shown = " waits for ".join(_quoted_keys(cycle[:_SHOWN_CYCLE_KEYS]))
    hidden = len(cycle) - _SHOWN_CYCLE_KEYS
    if hidden > 0:
        return f"{shown} waits for {hidden} more, of which the last waits for {_quoted(cycle[0])}"
    return f"{shown} waits for {_quoted(cycle[0])}"


def _quoted_keys(keys: Iterable[str]) -> list[str]:
    return [_quoted(key) for key in keys]


def _quoted(key: str) -> str:
    return f"'{shortened(key)}'"
