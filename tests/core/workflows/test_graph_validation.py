"""What makes a workflow, and what is told about steps that do not make one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import InvalidArgumentError
from runledger.core.identifiers import JobType, StepKey
from runledger.core.workflows.build_error import WorkflowBuildError
from runledger.core.workflows.builder import WorkflowRunEnqueueBuilder
from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.graph_validation import (
    validate_workflow_append,
    validate_workflow_dag,
    validate_workflow_run_enqueue,
    validate_workflow_step,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode
from runledger.core.workflows.workflow import WorkflowAppend
from tests.core.workflows.dags import gate, job, run_of, waits

ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
ON_TERMINAL = WorkflowDependencyReleaseMode.ON_TERMINAL
MANY = 10_000


def refusal_of(run: WorkflowRunEnqueue) -> WorkflowBuildError:
    with pytest.raises(WorkflowBuildError) as caught:
        validate_workflow_run_enqueue(run)
    return caught.value


@pytest.mark.parametrize("run", [{"a": 1}, None, WorkflowRunEnqueueBuilder("release"), WorkflowAppend()])
def test_what_is_no_request_is_refused_by_its_type(run: Any) -> None:
    """Among them a builder whose build was forgotten."""
    with pytest.raises(InvalidArgumentError, match=f"workflow: is of type {type(run).__name__}; pass a Workflow, or"):
        validate_workflow_run_enqueue(run)


def both_modes(key: str) -> tuple[WorkflowStepDependencySpec, ...]:
    return tuple(
        WorkflowStepDependencySpec(prerequisite_step_key=key, release_mode=mode) for mode in (ON_SUCCESS, ON_TERMINAL)
    )


# A run for each fault, in the order of the checks, each sound but for that one fault; with what the error says of it.
FAULTS: dict[str, tuple[WorkflowRunEnqueue, dict[str, Any]]] = {
    "idempotency_key_blank": (run_of(job("a"), idempotency_key=" "), {"field": "idempotency_key"}),
    "workflow_type_blank": (run_of(job("a"), workflow_type=" "), {"field": "workflow_type"}),
    "empty": (run_of(), {"field": "steps"}),
    "step_key_blank": (
        run_of(job("a"), job("\t")),
        {"field": "steps[1].step_key", "step_index": 1},
    ),
    "job_type_blank": (
        run_of(job("a", job_type=" ")),
        {"field": "steps[0].job_type", "step_index": 0, "step_key": "a"},
    ),
    "step_max_attempts_non_positive": (
        run_of(job("a", max_attempts=0)),
        {"field": "steps[0].max_attempts", "step_index": 0, "step_key": "a"},
    ),
    "step_timeout_seconds_non_positive": (
        run_of(job("a", timeout=timedelta(0))),
        {"field": "steps[0].timeout", "step_index": 0, "step_key": "a"},
    ),
    "external_step_job_type_not_allowed": (
        run_of(gate("a", job_type="t")),
        {"field": "steps[0].job_type", "step_index": 0, "step_key": "a"},
    ),
    "external_step_queue_settings_not_allowed": (
        run_of(gate("a", stage="queued")),
        {"field": "steps[0].stage", "step_index": 0, "step_key": "a"},
    ),
    "duplicate_step_key": (
        run_of(job("a"), gate("b"), job("a")),
        {"field": "steps[2].step_key", "step_index": 2, "step_key": "a"},
    ),
    "dependency_step_key_blank": (
        run_of(job("a"), job("b", "a", " ")),
        {"field": "steps[1].dependencies[1]", "step_index": 1, "step_key": "b"},
    ),
    "self_dependency": (
        run_of(job("a", "a")),
        {"field": "steps[0].dependencies[0]", "step_index": 0, "step_key": "a", "prerequisite_step_key": "a"},
    ),
    "duplicate_dependency": (
        run_of(job("a"), job("b", "a", "a")),
        {"field": "steps[1].dependencies[1]", "step_index": 1, "step_key": "b", "prerequisite_step_key": "a"},
    ),
    "missing_dependency": (
        run_of(job("a"), job("b", "a", "z")),
        {"field": "steps[1].dependencies[1]", "step_index": 1, "step_key": "b", "prerequisite_step_key": "z"},
    ),
    "cycle": (
        run_of(job("a", "b"), job("b", "a")),
        {"field": "steps", "step_key": "a", "cycle": ("a", "b")},
    ),
    "result_step_missing": (
        run_of(job("a"), result_step_key="z"),
        {"field": "result_step_key", "step_key": "z"},
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_has_its_code_and_names_what_it_is_about(case: str) -> None:
    """CORE-015 to CORE-030, CORE-043."""
    run, attributes = FAULTS[case]
    nothing = {"step_key": None, "step_index": None, "prerequisite_step_key": None, "cycle": ()}

    error = refusal_of(run)

    assert error.code == f"workflow.invalid_dag_{case}"
    assert {name: getattr(error, name) for name in (*nothing, "field")} == nothing | attributes


@pytest.mark.parametrize("case", [case for case in FAULTS if FAULTS[case][1].get("step_key")])
def test_the_text_names_step_and_prerequisite_and_the_text_for_clients_does_not(case: str) -> None:
    """CORE-043."""
    run = _renamed(FAULTS[case][0])

    error = refusal_of(run)

    for key in (error.step_key, error.prerequisite_step_key, *error.cycle):
        assert key is None or f"'{key}'" in str(error)
    assert "-17" not in error.client_message
    assert error.client_message


def _renamed(run: WorkflowRunEnqueue) -> WorkflowRunEnqueue:
    """Give all keys but blank ones an ending that no sentence has by chance."""

    def renamed(key: str) -> str:
        return f"{key}-17" if key.strip() else key

    steps = [
        job(
            renamed(step.step_key),
            *(renamed(spec.prerequisite_step_key) for spec in step.dependencies),
            execution_kind=step.execution_kind,
            job_type=step.job_type,
            max_attempts=step.max_attempts,
            timeout=step.timeout,
            stage=step.stage,
        )
        for step in run.steps
    ]
    result_step_key = None if run.result_step_key is None else renamed(run.result_step_key)
    return run_of(*steps, result_step_key=result_step_key)


# The same faults, each together with all that are checked after it.
FAULTY_STEPS = [
    ("step_key_blank", job(" ", job_type=" ", max_attempts=0)),
    ("job_type_blank", job("a", "a", job_type=" ", max_attempts=0, timeout=timedelta(0))),
    ("job_type_blank", job("a", "a", job_type=None, max_attempts=0)),
    ("step_max_attempts_non_positive", job("a", "a", max_attempts=-1, timeout=timedelta(0))),
    ("step_timeout_seconds_non_positive", job("a", "a", timeout=timedelta(seconds=-1), priority=2**40)),
    ("external_step_job_type_not_allowed", gate("a", "a", job_type="t", priority=1)),
    ("external_step_queue_settings_not_allowed", gate("a", "a", priority=1)),
    ("dependency_step_key_blank", job("a", " ", "a", "z", "z")),
    ("self_dependency", job("a", "a", "a", "z")),
    ("duplicate_dependency", job("a", "b", "b", "z")),
    ("missing_dependency", job("a", "b", "z", "a")),
]


@pytest.mark.parametrize(("case", "step"), FAULTY_STEPS)
def test_of_several_faults_of_a_step_the_first_in_order_is_reported(case: str, step: WorkflowStepEnqueue) -> None:
    """CORE-035."""
    error = refusal_of(run_of(step, job("b", "c"), job("c", "b"), result_step_key="none"))

    assert error.code == f"workflow.invalid_dag_{case}"


def test_of_several_faults_of_a_run_the_first_in_order_is_reported() -> None:
    """CORE-035, CORE-044."""
    self_dependent = job("a", "a")
    in_order: list[tuple[str, dict[str, Any]]] = [
        ("idempotency_key_blank", {"idempotency_key": "", "workflow_type": "", "steps": ()}),
        ("workflow_type_blank", {"workflow_type": "", "steps": ()}),
        ("workflow_type_blank", {"workflow_type": "", "steps": (self_dependent,)}),
        # Every step is looked at before any dependency.
        ("duplicate_step_key", {"steps": (self_dependent, job("b"), job("b"))}),
        ("step_key_blank", {"steps": (self_dependent, job("b"), job(""))}),
        # Every dependency is looked at before their order.
        ("self_dependency", {"steps": (job("b", "c"), job("c", "b"), self_dependent)}),
        ("cycle", {"steps": (job("b", "c"), job("c", "b")), "result_step_key": "none"}),
    ]

    for case, fields in in_order:
        assert refusal_of(run_of(**fields)).code == f"workflow.invalid_dag_{case}"


@pytest.mark.parametrize("setting", [{"priority": 0}, {"max_attempts": 0}, {"timeout": timedelta(0)}, {"stage": ""}])
def test_an_external_step_has_no_setting_of_jobs_whatever_its_value(setting: dict[str, Any]) -> None:
    """CORE-023."""
    assert refusal_of(run_of(gate("a", **setting))).code == (
        "workflow.invalid_dag_external_step_queue_settings_not_allowed"
    )


def test_a_prerequisite_listed_twice_is_refused_whatever_the_modes() -> None:
    """CORE-027."""
    error = refusal_of(run_of(job("a"), job("b", dependencies=both_modes("a"))))

    assert error.code == "workflow.invalid_dag_duplicate_dependency"


def test_a_diamond_is_accepted() -> None:
    """CORE-030."""
    validate_workflow_run_enqueue(run_of(job("d", "b", "c"), job("b", "a"), job("c", "a"), job("a")))


def test_a_run_that_uses_every_setting_is_accepted() -> None:
    everything = job(
        "a",
        organization_id=UUID(int=1),
        priority=-(2**31),
        max_attempts=1,
        timeout=timedelta(seconds=1),
        stage="scheduled",
    )
    run = run_of(
        everything,
        gate("b", "a", organization_id=UUID(int=2)),
        organization_id=UUID(int=3),
        idempotency_key="k" * 1_024,
        metadata=None,
        result_step_key="b",
    )

    validate_workflow_run_enqueue(run)


def test_identifiers_that_were_not_checked_before_are_checked_now() -> None:
    """CORE-004."""
    unchecked = job(StepKey("a"), job_type=JobType.unchecked(" "))

    assert refusal_of(run_of(unchecked)).code == "workflow.invalid_dag_job_type_blank"


# What the type of a value or its column forbids.
BAD_VALUES: list[tuple[str, WorkflowRunEnqueue]] = [
    ("idempotency_key", run_of(job("a"), idempotency_key="k" * 1_025)),
    ("idempotency_key", run_of(job("a"), idempotency_key=17)),
    ("workflow_type", run_of(job("a"), workflow_type="nul\0")),
    ("workflow_type", run_of(job("a"), workflow_type=None)),
    ("workflow_type", run_of(job("a"), workflow_type="w" * 1_025)),
    ("steps[0].job_type", run_of(job("a", job_type="\N{SNOWMAN}" * 342))),
    ("organization_id", run_of(job("a"), organization_id="018fa1f8-0000-7000-8000-000000000123")),
    ("result_step_key", run_of(job("a"), result_step_key=1)),
    ("steps", run_of(steps=iter([job("a")]))),
    ("steps", run_of(steps="a")),
    ("steps[0]", run_of(steps=["a"])),
    ("steps[0].step_key", run_of(job("lone\ud800"))),
    ("steps[0].step_key", run_of(job("\N{SNOWMAN}" * 342))),
    ("steps[0].step_key", run_of(job(5))),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("steps[0].execution_kind", run_of(job("a", execution_kind="EXTERNAL"))),
    ("steps[0].job_type", run_of(job("a", job_type="nul\0"))),
    ("steps[0].job_type", run_of(job("a", job_type=5))),
    ("steps[0].organization_id", run_of(gate("a", organization_id=1))),
    ("steps[0].priority", run_of(job("a", priority=2**31))),
    ("steps[0].max_attempts", run_of(job("a", max_attempts=False))),
    ("steps[0].max_attempts", run_of(job("a", max_attempts=2**31))),
    ("steps[0].timeout", run_of(job("a", timeout=30))),
    ("steps[0].timeout", run_of(job("a", timeout=timedelta(milliseconds=1_500)))),
    ("steps[0].stage", run_of(job("a", stage=" "))),
    ("steps[0].dependencies", run_of(job("a", dependencies="b"))),
    ("steps[1].dependencies[0]", run_of(job("a"), job("b", dependencies=["a"]))),
    ("steps[1].dependencies[0]", run_of(job("a"), job("b", None))),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (
        "steps[1].dependencies[0]",
        run_of(
            job("a"),
            job(
                "b",
                dependencies=[WorkflowStepDependencySpec(prerequisite_step_key="a", release_mode="ON_SUCCESS")],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            ),
        ),
    ),
]


@pytest.mark.parametrize(("field", "run"), BAD_VALUES)
def test_a_value_that_no_column_takes_is_refused_by_its_place(field: str, run: WorkflowRunEnqueue) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        validate_workflow_run_enqueue(run)

    assert not isinstance(caught.value, WorkflowBuildError)
    assert (caught.value.code, caught.value.field) == ("argument.invalid", field)


def test_steps_alone_are_checked_without_a_run() -> None:
    validate_workflow_dag("w", [job("a"), job("b", "a")])
    with pytest.raises(WorkflowBuildError, match="is no step of the workflow"):
        validate_workflow_dag("w", [job("b", "a")])
    with pytest.raises(WorkflowBuildError, match=r"^workflow_type: is blank"):
        validate_workflow_dag(" ", [])


def test_a_step_alone_is_not_asked_whether_its_prerequisites_exist() -> None:
    validate_workflow_step(job("b", "a", "z"))

    for case, step in FAULTY_STEPS:
        if case == "missing_dependency":
            continue
        with pytest.raises(WorkflowBuildError) as caught:
            validate_workflow_step(step)
        assert caught.value.code == f"workflow.invalid_dag_{case}"
        assert caught.value.step_index is None
        assert not caught.value.field.startswith("steps")


# -- Append --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "case"),
    [
        ([], "empty"),  # CORE-036
        ([job(" ")], "step_key_blank"),
        ([job("a")], "duplicate_step_key"),  # CORE-037
        ([job("n"), job("n")], "duplicate_step_key"),  # CORE-037
        ([job("a", max_attempts=0)], "step_max_attempts_non_positive"),
        ([job("n", "z")], "missing_dependency"),  # CORE-038
        ([job("n", "a", "a")], "duplicate_dependency"),
        ([job("n", "n")], "self_dependency"),
        ([job("n", "m", "a"), job("m", "b", "n")], "cycle"),  # CORE-039
    ],
)
def test_steps_that_cannot_be_appended_are_refused(steps: list[WorkflowStepEnqueue], case: str) -> None:
    """CORE-036 to CORE-039."""
    with pytest.raises(WorkflowBuildError) as caught:
        validate_workflow_append(["a", "b"], steps)

    assert caught.value.code == f"workflow.invalid_dag_{case}"


def test_appended_steps_may_wait_for_existing_ones_and_for_each_other() -> None:
    """CORE-038."""
    validate_workflow_append(iter(["a", "b"]), [job("n", "m", "a"), job("m", "a", "b")])


def test_where_the_steps_of_the_run_are_not_known_a_foreign_key_is_taken_for_one_of_them() -> None:
    validate_workflow_append(None, [job("n", "m", "a"), job("m", "z")])

    with pytest.raises(WorkflowBuildError) as caught:
        validate_workflow_append(None, [job("n", "m"), job("m", "n", "a")])
    assert caught.value.cycle == ("n", "m")


def test_an_append_of_nothing_says_that_it_can_be_left_out() -> None:
    with pytest.raises(WorkflowBuildError, match="steps: is empty; append only when there is something") as caught:
        validate_workflow_append(["a"], [])

    assert caught.value.code == "workflow.invalid_dag_empty"


def test_a_cycle_among_appended_steps_names_those_alone() -> None:
    """CORE-039."""
    with pytest.raises(WorkflowBuildError) as caught:
        validate_workflow_append({"a"}, [job("l", "a"), job("n", "a", "l", "m"), job("m", "n", "a")])

    assert caught.value.cycle == ("n", "m")


# -- Cycles --------------------------------------------------------------------------------------------------


def test_a_cycle_of_three_is_told_in_the_order_of_waiting_and_without_the_steps_behind_it() -> None:
    """CORE-029."""
    error = refusal_of(run_of(job("behind", "c"), job("root"), job("c", "root", "b"), job("a", "c"), job("b", "a")))

    assert error.cycle == ("c", "b", "a")
    assert "wait for each other: 'c' waits for 'b' waits for 'a' waits for 'c'; " in str(error)


def test_the_text_of_a_long_cycle_is_short_and_the_error_has_all_of_it() -> None:
    steps = [job(f"s{index}" * 50, f"s{(index + 1) % MANY}" * 50) for index in range(MANY)]

    error = refusal_of(run_of(*steps))

    assert error.cycle == tuple(step.step_key for step in steps)
    assert "waits for 9994 more, of which the last waits for 's0s0" in str(error)
    assert len(str(error)) < 1_200


def test_what_would_trick_a_terminal_is_escaped_in_texts() -> None:
    error = refusal_of(run_of(job("\x1b[2Jred", "\u202egnp.exe")))

    assert str(error).isprintable()


@st.composite
def graphs(draw: st.DrawFn) -> list[WorkflowStepEnqueue]:
    """Up to a dozen steps with any edges between different ones."""
    keys = draw(st.lists(st.text("abcxyz", min_size=1, max_size=3), unique=True, min_size=1, max_size=12))
    others = {key: [other for other in keys if other != key] for key in keys}
    return [
        job(key, *draw(st.lists(st.sampled_from(others[key]), unique=True, max_size=3))) if others[key] else job(key)
        for key in keys
    ]


@given(steps=graphs())
def test_random_graphs_are_accepted_exactly_when_the_standard_library_can_sort_them(
    steps: list[WorkflowStepEnqueue],
) -> None:
    waits_for = {step.step_key: [spec.prerequisite_step_key for spec in step.dependencies] for step in steps}
    try:
        TopologicalSorter(waits_for).prepare()
    except CycleError:
        cycle = refusal_of(run_of(*steps)).cycle
        assert len(set(cycle)) == len(cycle) >= 2
        for key, next_key in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert next_key in waits_for[key]
        assert cycle[0] == min(cycle, key=list(waits_for).index)
    else:
        validate_workflow_run_enqueue(run_of(*steps))


@given(steps=graphs(), data=st.data())
def test_a_split_of_an_accepted_graph_behind_its_roots_can_be_appended(
    steps: list[WorkflowStepEnqueue], data: st.DataObject
) -> None:
    """What is accepted at once is accepted in two parts, if no part that exists waits for a new one."""
    try:
        order = list(
            TopologicalSorter(
                {step.step_key: [spec.prerequisite_step_key for spec in step.dependencies] for step in steps}
            ).static_order()
        )
    except CycleError:
        return
    existing = set(order[: data.draw(st.integers(0, len(order) - 1))])

    validate_workflow_append(existing, [step for step in steps if step.step_key not in existing])


# -- Size ----------------------------------------------------------------------------------------------------


def chain(size: int) -> list[WorkflowStepEnqueue]:
    return [job(f"s{index}", *([f"s{index - 1}"] if index else [])) for index in range(size)]


def reversed_chain(size: int) -> list[WorkflowStepEnqueue]:
    return chain(size)[::-1]


def fan(size: int) -> list[WorkflowStepEnqueue]:
    between = [f"s{index}" for index in range(size - 2)]
    return [job("last", *between), *(job(key, "first") for key in between), job("first")]


def layers(size: int) -> list[WorkflowStepEnqueue]:
    """Layers of 50 steps, each of which waits for 20 of the layer before."""
    return [
        job(f"{layer}.{place}", *(f"{layer - 1}.{(place + offset) % 50}" for offset in range(20) if layer))
        for layer in range(size // 50)
        for place in range(50)
    ]


def ring(size: int) -> list[WorkflowStepEnqueue]:
    first, *others = chain(size)
    return [job(first.step_key, others[-1].step_key), *others]


SHAPES = [chain, reversed_chain, fan, layers, ring]
Shape = Callable[[int], list[WorkflowStepEnqueue]]


@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_the_steps_take_four_times_the_work(shape: Shape) -> None:
    small, large = (_lines_run(shape(size)) for size in (500, 2_000))

    assert large < 4.4 * small


def _lines_run(steps: list[WorkflowStepEnqueue]) -> int:
    """Count the lines that a validation runs: as good as time, and always the same."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        validate_workflow_dag("w", steps)
    except WorkflowBuildError as error:
        assert error.cycle  # noqa: PT017 - the ring
    finally:
        sys.settrace(outer)
    return count


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape is not ring])
def test_ten_thousand_steps_are_validated_in_no_time_and_without_recursion(shape: Shape) -> None:
    """About 0.03 s, and 0.1 s for the layers; the bound leaves room for a machine that does other things."""
    assert sys.getrecursionlimit() < MANY
    run = run_of(*shape(MANY))

    before = time.process_time()
    validate_workflow_run_enqueue(run)

    assert time.process_time() - before < 1


def test_an_append_to_a_large_run_looks_up_its_keys_and_does_not_search_them() -> None:
    existing = [f"e{index}" for index in range(MANY)]
    steps = [job(f"n{index}", f"e{index}") for index in range(MANY)]

    before = time.process_time()
    validate_workflow_append(existing, steps)

    assert time.process_time() - before < 1


def test_dependencies_may_be_any_list_of_specs() -> None:
    validate_workflow_run_enqueue(run_of(job("a"), job("b", dependencies=list(waits("a")))))
