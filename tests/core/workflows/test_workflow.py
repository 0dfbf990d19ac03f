"""Workflows as they are written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core.errors import BlankStepKeyError, InvalidArgumentError
from runledger.core.jobs.handler import JobContext
from runledger.core.workflows.build_error import WorkflowBuildError
from runledger.core.workflows.dag_builder import WorkflowDagBuilder
from runledger.core.workflows.workflow import Workflow, WorkflowAppend


def test_a_written_workflow_is_the_request_that_the_dag_builder_makes() -> None:
    names = ["web", "worker"]
    flow = Workflow("release", metadata={"by": "me"}, organization_id=UUID(int=1), idempotency_key="v1")
    found = flow.job("discover", "release.discover")
    built = [flow.job(f"build-{name}", "release.build", {"package": name}, after=found, priority=3) for name in names]
    approved = flow.gate("approve", {"who": "lead"}, after=built, organization_id=UUID(int=2))
    published = flow.job(
        "publish", "release.publish", after=[approved], max_attempts=1, timeout=timedelta(minutes=5), stage="last"
    )
    flow.job("report", "release.report", after=found, after_terminal=[*built, published], organization_id=UUID(int=2))
    flow.result_step(published)

    assert flow.build() == (
        WorkflowDagBuilder("release", {"by": "me"})
        .organization_id(UUID(int=1))
        .idempotency_key("v1")
        .job("discover", "release.discover")
        .job("build-web", "release.build", {"package": "web"}, priority=3)
        .after_success("build-web", "discover")
        .job("build-worker", "release.build", {"package": "worker"}, priority=3)
        .after_success("build-worker", "discover")
        .external("approve", {"who": "lead"}, organization_id=UUID(int=2))
        .after_success("approve", ["build-web", "build-worker"])
        .job("publish", "release.publish", max_attempts=1, timeout=timedelta(minutes=5), stage="last")
        .after_success("publish", "approve")
        .job("report", "release.report", organization_id=UUID(int=2))
        .after_success("report", "discover")
        .after_terminal("report", ["build-web", "build-worker", "publish"])
        .result_step("publish")
        .build()
    )


def test_a_handle_shows_its_key_alone() -> None:
    step = Workflow("w").job("a", "t", {"card": "4111-secret"})

    assert step.key == "a"
    assert repr(step) == "WorkflowStepHandle(key='a')"


def test_no_prerequisites_in_a_list_are_none() -> None:
    flow = Workflow("w")

    flow.job("a", "t", after=[], after_terminal=iter(()))

    assert flow.build().steps[0].dependencies == ()


FAULTY: list[tuple[str, Callable[[Workflow], object]]] = [
    ("step_key_blank", lambda flow: flow.job(" ", "t")),  # CORE-018
    ("step_key_blank", lambda flow: flow.gate("")),
    ("job_type_blank", lambda flow: flow.job("b", " ")),  # CORE-019
    ("step_max_attempts_non_positive", lambda flow: flow.job("b", "t", max_attempts=0)),  # CORE-020
    ("step_timeout_seconds_non_positive", lambda flow: flow.job("b", "t", timeout=timedelta(0))),  # CORE-021
    ("duplicate_step_key", lambda flow: flow.gate("a")),  # CORE-024
]


@pytest.mark.parametrize(("case", "call"), FAULTY, ids=[f"{number}-{case}" for number, (case, _) in enumerate(FAULTY)])
def test_a_step_that_breaks_a_rule_is_refused_where_it_is_written(
    case: str, call: Callable[[Workflow], object]
) -> None:
    """CORE-018 to CORE-024."""
    flow = Workflow("w")
    flow.job("a", "t")

    with pytest.raises(WorkflowBuildError) as caught:
        call(flow)

    assert caught.value.code == f"workflow.invalid_dag_{case}"
    assert caught.value.step_index == 1
    assert [step.step_key for step in flow.build().steps] == ["a"]


def test_a_prerequisite_in_both_lists_is_refused() -> None:
    """CORE-027."""
    flow = Workflow("w")
    first = flow.job("a", "t")

    with pytest.raises(WorkflowBuildError, match="step 'b' waits for 'a' twice"):
        flow.job("b", "t", after=first, after_terminal=first)


@pytest.mark.parametrize("argument", ["after", "after_terminal"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a", "contains a value of type str"),
        (["a"], "contains a value of type str"),
        (None, "is of type NoneType"),
        (Workflow("other").job("a", "t"), "contains a step of another workflow"),
    ],
)
def test_only_steps_of_the_same_workflow_can_be_waited_for(argument: str, value: Any, problem: str) -> None:
    flow = Workflow("w")
    flow.job("a", "t")

    with pytest.raises(InvalidArgumentError, match=f"^{argument}: {problem}; "):
        flow.job("b", "t", **{argument: value})


def test_the_result_is_that_of_a_step_of_the_same_workflow() -> None:
    flow = Workflow("w")
    flow.result_step(flow.job("a", "t"))
    flow.result_step(flow.gate("b"))

    assert flow.build().result_step_key == "b"
    with pytest.raises(InvalidArgumentError, match=r"^step: contains a step of another workflow; "):
        flow.result_step(Workflow("w").job("a", "t"))


@pytest.mark.parametrize(
    ("case", "flow"),
    [
        ("empty", Workflow("w")),  # CORE-016
        ("workflow_type_blank", Workflow(" ")),  # CORE-017
        ("idempotency_key_blank", Workflow("w", idempotency_key=" ")),  # CORE-015
    ],
)
def test_a_run_that_breaks_a_rule_is_refused_when_it_is_built(case: str, flow: Workflow) -> None:
    """CORE-015 to CORE-017."""
    with pytest.raises(WorkflowBuildError) as caught:
        flow.build()

    assert caught.value.code == f"workflow.invalid_dag_{case}"


def test_what_is_built_does_not_change_with_later_steps() -> None:
    flow = Workflow("w")
    flow.job("a", "t")
    run = flow.build()

    flow.job("b", "t")

    assert len(run.steps) == 1


# -- Append --------------------------------------------------------------------------------------------------


def test_steps_to_append_wait_for_existing_ones_and_for_each_other() -> None:
    """CORE-038."""
    more = WorkflowAppend()
    found = more.existing("discover")
    built = [more.job(f"build-{name}", "release.build", after=found) for name in ("web", "worker")]
    more.gate("merge", after=built, after_terminal=more.existing("discover-more"))

    steps = more.build()

    assert [(step.step_key, [spec.prerequisite_step_key for spec in step.dependencies]) for step in steps] == [
        ("build-web", ["discover"]),
        ("build-worker", ["discover"]),
        ("merge", ["build-web", "build-worker", "discover-more"]),
    ]


def test_nothing_to_append_is_refused() -> None:
    """CORE-036."""
    more = WorkflowAppend()
    more.existing("discover")

    with pytest.raises(WorkflowBuildError) as caught:
        more.build()

    assert caught.value.code == "workflow.invalid_dag_empty"


def test_a_new_step_with_the_key_of_an_existing_one_is_refused() -> None:
    """CORE-037."""
    more = WorkflowAppend()
    more.existing("discover")

    with pytest.raises(WorkflowBuildError) as caught:
        more.job("discover", "t")

    assert caught.value.code == "workflow.invalid_dag_duplicate_step_key"


def test_a_new_step_is_no_existing_one() -> None:
    more = WorkflowAppend()
    more.job("merge", "t")

    with pytest.raises(InvalidArgumentError, match=r"^key: is that of a new step; "):
        more.existing("merge")


def test_an_existing_step_may_be_named_twice_but_not_by_a_blank_key() -> None:
    more = WorkflowAppend()

    assert more.existing("discover").key == more.existing("discover").key
    with pytest.raises(BlankStepKeyError):
        more.existing(" ")


def context_of(workflow_step_key: str | None) -> JobContext:
    return JobContext(
        job_id=UUID(int=1),
        job_type="t",
        run_number=1,
        attempt=1,
        max_attempts=1,
        worker_id="w",
        workflow_run_id=None if workflow_step_key is None else UUID(int=2),
        workflow_step_key=workflow_step_key,
    )


def test_a_handler_appends_behind_the_step_that_it_carries_out() -> None:
    more = WorkflowAppend()
    more.job("build", "t", after=more.this_step(context_of("discover")))

    (step,) = more.build()

    assert [spec.prerequisite_step_key for spec in step.dependencies] == ["discover"]


def test_a_job_of_no_workflow_has_no_step_to_append_behind() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^context: is of a job that belongs to no workflow; "):
        WorkflowAppend().this_step(context_of(None))
