"""The builder of steps and edges declares the same request as the others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core.errors import InvalidArgumentError
from runledger.core.workflows.build_error import WorkflowBuildError
from runledger.core.workflows.builder import WorkflowRunEnqueueBuilder, WorkflowStepEnqueueBuilder
from runledger.core.workflows.dag_builder import WorkflowDagBuilder

SHOP = UUID(int=1)


def test_steps_and_edges_make_the_request_that_step_and_run_builders_make() -> None:
    declared = (
        WorkflowDagBuilder("release", {"by": "me"})
        .organization_id(SHOP)
        .idempotency_key("v1")
        .after_success("publish", "approve")  # before the steps that it joins
        .job("build", "release.build", {"n": 1}, priority=3, max_attempts=2, timeout=timedelta(seconds=9), stage="new")
        .external("approve", {"who": "lead"}, organization_id=UUID(int=2))
        .job("publish", "release.publish")
        .job("report", "release.report", organization_id=UUID(int=2))
        .after_success("approve", ["build"])
        .after_terminal("report", ["build", "publish"])
        .after_success("report", ["approve"])
        .result_step("publish")
        .build()
    )

    Step = WorkflowStepEnqueueBuilder  # noqa: N806 - a class
    built = (
        WorkflowRunEnqueueBuilder("release", {"by": "me"})
        .organization_id(SHOP)
        .idempotency_key("v1")
        .result_step("publish")
        .step(
            Step("build", "release.build", {"n": 1})
            .priority(3)
            .max_attempts(2)
            .timeout(timedelta(seconds=9))
            .stage("new")
        )
        .step(Step.external("approve", {"who": "lead"}).organization_id(UUID(int=2)).depends_on_success("build"))
        .step(Step("publish", "release.publish").clear_stage().depends_on_success("approve"))
        .step(
            Step("report", "release.report")
            .clear_stage()
            .organization_id(UUID(int=2))
            .depends_on_terminal(["build", "publish"])
            .depends_on_success("approve")
        )
        .build()
    )
    assert declared == built


def test_a_step_that_was_built_elsewhere_keeps_its_dependencies_before_the_edges() -> None:
    run = (
        WorkflowDagBuilder("w")
        .job("a", "t")
        .job("b", "t")
        .step(WorkflowStepEnqueueBuilder("c", "t").depends_on_terminal("b"))
        .after_success("c", ["a"])
        .build()
    )

    assert [spec.prerequisite_step_key for spec in run.steps[2].dependencies] == ["b", "a"]


def test_an_edge_for_a_step_that_is_not_declared_is_refused() -> None:
    builder = WorkflowDagBuilder("w").job("a", "t").after_success("publihs", "a")

    with pytest.raises(WorkflowBuildError) as caught:
        builder.build()

    error = caught.value
    assert error.code == "workflow.invalid_dag_unknown_step_key"
    assert (error.step_key, error.prerequisite_step_key) == ("publihs", "a")
    assert "'publihs', declared to wait for 'a', is no step" in str(error)


def test_a_misspelt_step_is_refused_also_when_it_would_wait_for_nothing() -> None:
    with pytest.raises(WorkflowBuildError, match=r"^step_key: 'publihs' is no step of the workflow; ") as caught:
        WorkflowDagBuilder("w").job("a", "t").after_success("publihs", []).build()

    assert caught.value.prerequisite_step_key is None


def test_a_step_that_waits_for_no_others_needs_no_edge() -> None:
    """So the list of prerequisites may come from somewhere and be empty."""
    run = WorkflowDagBuilder("w").job("a", "t").after_success("a", []).build()

    assert run.steps[0].dependencies == ()


Build = Callable[[WorkflowDagBuilder], WorkflowDagBuilder]
FAULTY: list[tuple[str, Build]] = [
    ("missing_dependency", lambda dag: dag.after_success("b", "z")),  # CORE-025
    ("self_dependency", lambda dag: dag.after_terminal("a", "a")),  # CORE-026
    ("duplicate_dependency", lambda dag: dag.after_success("b", "a").after_terminal("b", "a")),  # CORE-027
    ("dependency_step_key_blank", lambda dag: dag.after_success("b", " ")),  # CORE-028
    ("cycle", lambda dag: dag.after_success("b", "a").after_success("a", "b")),  # CORE-030
    ("duplicate_step_key", lambda dag: dag.external("a")),  # CORE-024
    ("result_step_missing", lambda dag: dag.result_step("z")),
    ("idempotency_key_blank", lambda dag: dag.idempotency_key("")),  # CORE-015
]


@pytest.mark.parametrize(
    ("case", "declare"), FAULTY, ids=[f"{number}-{case}" for number, (case, _) in enumerate(FAULTY)]
)
def test_what_is_declared_wrongly_is_refused_when_it_is_built(case: str, declare: Build) -> None:
    """CORE-015, CORE-024 to CORE-030."""
    builder = declare(WorkflowDagBuilder("w").job("a", "t").job("b", "t"))

    with pytest.raises(WorkflowBuildError) as caught:
        builder.build()

    assert caught.value.code == f"workflow.invalid_dag_{case}"


def test_a_second_build_has_what_was_declared_in_between() -> None:
    builder = WorkflowDagBuilder("w").job("a", "t").job("b", "t")
    first = builder.build()

    second = builder.after_success("b", "a").build()

    assert [len(step.dependencies) for step in first.steps] == [0, 0]
    assert [len(step.dependencies) for step in second.steps] == [0, 1]


def test_what_has_the_wrong_type_is_refused_at_once() -> None:
    untyped: Any = WorkflowDagBuilder("w")

    with pytest.raises(InvalidArgumentError, match=r"^step_key: is of type int; "):
        untyped.after_success(1, "a")
    with pytest.raises(InvalidArgumentError, match=r"^step: is of type str; "):
        untyped.step("a")
