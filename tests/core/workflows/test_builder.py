"""The builders of a step and of a run keep what they are given, and check it when they build."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core.errors import InvalidArgumentError
from runledger.core.identifiers import JobType, StepKey, WorkflowType
from runledger.core.workflows.build_error import WorkflowBuildError
from runledger.core.workflows.builder import WorkflowRunEnqueueBuilder, WorkflowStepEnqueueBuilder
from runledger.core.workflows.enqueue_request import WorkflowStepDependencySpec, WorkflowStepEnqueue
from runledger.core.workflows.status import WorkflowDependencyReleaseMode, WorkflowStepExecutionKind

ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
ON_TERMINAL = WorkflowDependencyReleaseMode.ON_TERMINAL
SHOP, DEPOT = UUID(int=1), UUID(int=2)

Step = WorkflowStepEnqueueBuilder


def a_step(key: str = "a") -> Step:
    return Step(key, "t", {"n": 1})


def a_run() -> WorkflowRunEnqueueBuilder:
    return WorkflowRunEnqueueBuilder("w", {"by": "me"})


def edges_of(step: WorkflowStepEnqueue) -> list[tuple[str, WorkflowDependencyReleaseMode | None]]:
    return [(spec.prerequisite_step_key, spec.release_mode) for spec in step.dependencies]


def test_a_job_step_begins_queued_and_with_nothing_else() -> None:
    """CORE-010."""
    assert a_step().build() == WorkflowStepEnqueue(
        step_key="a",
        execution_kind=WorkflowStepExecutionKind.JOB,
        job_type="t",
        payload={"n": 1},
        stage="queued",
        dependencies=(),
    )


def test_an_external_step_has_no_job_type_settings_or_stage() -> None:
    """CORE-011."""
    step = Step.external("a", {"n": 1}).build()

    assert step == WorkflowStepEnqueue(
        step_key="a", execution_kind=WorkflowStepExecutionKind.EXTERNAL, payload={"n": 1}
    )
    assert step.effective_stage is None


SETTINGS: list[tuple[str, Any]] = [
    ("organization_id", SHOP),
    ("priority", -5),
    ("max_attempts", 3),
    ("timeout", timedelta(minutes=2)),
    ("stage", "packing"),
]


@pytest.mark.parametrize(("setting", "value"), SETTINGS)
def test_a_step_keeps_a_setting_until_it_is_cleared(setting: str, value: object) -> None:
    """CORE-013."""
    builder = a_step()

    assert getattr(builder, setting)(value) is builder
    assert getattr(builder.build(), setting) == value
    assert getattr(builder, f"clear_{setting}")() is builder
    assert getattr(builder.build(), setting) is None


def test_a_cleared_stage_is_stored_as_queued() -> None:
    """CORE-013."""
    assert a_step().clear_stage().build().effective_stage == "queued"


def test_a_timeout_is_told_in_seconds_as_well() -> None:
    assert a_step().timeout(timedelta(minutes=2)).build().timeout_seconds == 120
    assert a_step().build().timeout_seconds is None


def test_a_step_may_belong_to_another_organisation_than_its_run() -> None:
    """CORE-014."""
    run = a_run().organization_id(SHOP).step(a_step().organization_id(DEPOT)).step(a_step("b")).build()

    assert run.organization_id == SHOP
    assert [step.organization_id for step in run.steps] == [DEPOT, None]


def test_organisation_and_key_of_a_run_can_be_set_and_cleared() -> None:
    """CORE-012."""
    builder = a_run().step(a_step()).organization_id(SHOP).idempotency_key("order-17").result_step("a")

    run = builder.build()
    assert (run.organization_id, run.idempotency_key, run.result_step_key) == (SHOP, "order-17", "a")

    run = builder.clear_organization_id().clear_idempotency_key().clear_result_step().build()
    assert (run.organization_id, run.idempotency_key, run.result_step_key) == (None, None, None)


def test_a_run_keeps_type_and_metadata() -> None:
    run = a_run().step(a_step()).build()

    assert (run.workflow_type, run.metadata) == ("w", {"by": "me"})
    assert WorkflowRunEnqueueBuilder("w").step(a_step()).build().metadata == {}


def test_dependencies_have_the_mode_of_the_call_and_the_order_of_the_calls() -> None:
    """CORE-031, CORE-032."""
    step = (
        a_step()
        .depends_on_success(["z", "y"])
        .dependency(WorkflowStepDependencySpec(prerequisite_step_key="x"))
        .depends_on_terminal("wait")
        .depends_on_success(key for key in ["b"])
        .build()
    )

    assert edges_of(step) == [
        ("z", ON_SUCCESS),
        ("y", ON_SUCCESS),
        ("x", None),
        ("wait", ON_TERMINAL),
        ("b", ON_SUCCESS),
    ]
    assert step.dependencies[2].effective_release_mode is ON_TERMINAL


def test_set_dependencies_replaces_earlier_ones() -> None:
    """CORE-033."""
    builder = a_step().depends_on_success("z")

    builder.set_dependencies([WorkflowStepDependencySpec(prerequisite_step_key="b", release_mode=ON_SUCCESS)])

    assert edges_of(builder.build()) == [("b", ON_SUCCESS)]


def test_set_steps_replaces_earlier_steps_and_extend_steps_adds() -> None:
    """CORE-034."""
    builder = a_run().step(a_step("a")).set_steps([a_step("b"), a_step("c")])
    assert [step.step_key for step in builder.build().steps] == ["b", "c"]

    builder.extend_steps([a_step("d").build()]).extend_steps([]).step(a_step("e"))
    assert [step.step_key for step in builder.build().steps] == ["b", "c", "d", "e"]


def test_what_is_built_does_not_change_with_its_builder() -> None:
    step_builder = a_step().depends_on_success("b")
    step = step_builder.build()
    run_builder = a_run().step(step_builder).step(a_step("b"))
    run = run_builder.build()

    step_builder.priority(7).depends_on_success("c")
    run_builder.step(a_step("c"))

    assert (step.priority, len(step.dependencies)) == (None, 1)
    assert run.steps[0] == step
    assert len(run.steps) == 2


FAULTY: list[tuple[str, Callable[[], object]]] = [
    ("step_key_blank", a_step(" ").build),  # CORE-018
    ("step_key_blank", Step.external(StepKey.unchecked("")).build),
    ("job_type_blank", Step("a", " ").build),  # CORE-019
    ("job_type_blank", Step("a", JobType.unchecked("")).build),
    ("step_max_attempts_non_positive", a_step().max_attempts(0).build),  # CORE-020
    ("step_max_attempts_non_positive", a_step().max_attempts(-1).build),
    ("step_timeout_seconds_non_positive", a_step().timeout(timedelta(0)).build),  # CORE-021
    ("step_timeout_seconds_non_positive", a_step().timeout(timedelta(seconds=-1)).build),
    ("external_step_queue_settings_not_allowed", Step.external("a").priority(1).build),  # CORE-023
    ("external_step_queue_settings_not_allowed", Step.external("a").max_attempts(1).build),
    ("external_step_queue_settings_not_allowed", Step.external("a").timeout(timedelta(seconds=1)).build),
    ("external_step_queue_settings_not_allowed", Step.external("a").stage("queued").build),
    ("dependency_step_key_blank", a_step().depends_on_success("").build),  # CORE-028
    ("self_dependency", a_step().depends_on_success("a").build),  # CORE-026
    ("duplicate_dependency", a_step().depends_on_success("b").depends_on_terminal("b").build),  # CORE-027
    ("idempotency_key_blank", a_run().step(a_step()).idempotency_key(" ").build),  # CORE-015
    ("workflow_type_blank", WorkflowRunEnqueueBuilder(" ").step(a_step()).build),  # CORE-017
    ("workflow_type_blank", WorkflowRunEnqueueBuilder(WorkflowType.unchecked(" ")).step(a_step()).build),
    ("empty", a_run().build),  # CORE-016
    ("duplicate_step_key", a_run().step(a_step()).step(Step.external("a")).build),  # CORE-024
    ("missing_dependency", a_run().step(a_step().depends_on_success("z")).build),  # CORE-025
    ("result_step_missing", a_run().step(a_step()).result_step("z").build),
]


@pytest.mark.parametrize(("case", "build"), FAULTY, ids=[f"{number}-{case}" for number, (case, _) in enumerate(FAULTY)])
def test_a_fault_is_refused_when_it_is_built(case: str, build: Callable[[], object]) -> None:
    """CORE-004, CORE-015 to CORE-028."""
    with pytest.raises(WorkflowBuildError) as caught:
        build()

    assert caught.value.code == f"workflow.invalid_dag_{case}"


def test_a_blank_key_among_steps_is_named_by_its_position() -> None:
    """CORE-018."""
    with pytest.raises(WorkflowBuildError, match=r"^steps\[1\]\.step_key: is blank") as caught:
        a_run().step(a_step()).step(a_step(" ")).build()

    assert caught.value.step_index == 1


def test_a_cycle_of_three_is_refused() -> None:
    """CORE-029."""
    builder = a_run().extend_steps(
        a_step(key).depends_on_success(before) for key, before in [("a", "c"), ("b", "a"), ("c", "b")]
    )

    with pytest.raises(WorkflowBuildError) as caught:
        builder.build()

    assert caught.value.cycle == ("a", "c", "b")


def test_a_blank_type_is_reported_before_a_self_dependency() -> None:
    """CORE-044."""
    builder = WorkflowRunEnqueueBuilder(" ").step(a_step().depends_on_success("a"))

    with pytest.raises(WorkflowBuildError) as caught:
        builder.build()

    assert caught.value.code == "workflow.invalid_dag_workflow_type_blank"


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^step: is of type str; "):
        a_run().step("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_payload_metadata_and_key_are_in_no_repr() -> None:
    run = (
        WorkflowRunEnqueueBuilder("w", {"m": "4111-secret"})
        .idempotency_key("4111-secret")
        .step(Step("a", "t", "4111-secret"))
        .build()
    )

    assert "4111-secret" not in repr(run) + repr(run.steps)
    assert "workflow_type='w'" in repr(run)
