"""How steps begin, and what becomes of one whose prerequisites have ended."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.workflows.enqueue_request import WorkflowStepDependencySpec, WorkflowStepEnqueue
from runledger.core.workflows.status import (
    WorkflowDependencyReleaseMode,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.core.workflows.step_release import StepStart, next_status, satisfies, start_steps
from tests.core.workflows.dags import gate, job

ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
ON_TERMINAL = WorkflowDependencyReleaseMode.ON_TERMINAL
JOB, EXTERNAL = WorkflowStepExecutionKind.JOB, WorkflowStepExecutionKind.EXTERNAL

BLOCKED, ENQUEUED = WorkflowStepStatus.BLOCKED, WorkflowStepStatus.ENQUEUED
WAITING, RUNNING = WorkflowStepStatus.WAITING_FOR_EXTERNAL, WorkflowStepStatus.RUNNING
SUCCEEDED, FAILED, CANCELED = WorkflowStepStatus.SUCCEEDED, WorkflowStepStatus.FAILED, WorkflowStepStatus.CANCELED

ENDS = (SUCCEEDED, FAILED, CANCELED)


def on_success(*prerequisites: str) -> tuple[WorkflowStepDependencySpec, ...]:
    return tuple(
        WorkflowStepDependencySpec(prerequisite_step_key=key, release_mode=ON_SUCCESS) for key in prerequisites
    )


def starts_of(
    *steps: WorkflowStepEnqueue, existing: Mapping[str, WorkflowStepStatus] | None = None
) -> dict[str, StepStart]:
    return {step.step_key: start for step, start in zip(steps, start_steps(steps, existing or {}), strict=True)}


@pytest.mark.parametrize("status", ENDS)
def test_any_end_satisfies_on_terminal_and_success_alone_on_success(status: WorkflowStepStatus) -> None:
    """WFP-003, WFP-004, WFP-007."""
    assert satisfies(status, ON_TERMINAL)
    assert satisfies(status, ON_SUCCESS) == (status is SUCCEEDED)


@pytest.mark.parametrize("kind", [JOB, EXTERNAL])
@pytest.mark.parametrize("unsatisfied", [0, 1])
def test_while_a_prerequisite_is_pending_a_step_stays_blocked(
    kind: WorkflowStepExecutionKind, unsatisfied: int
) -> None:
    """WFP-002, WFP-005."""
    assert next_status(kind, pending=1, unsatisfied=unsatisfied) is BLOCKED


def test_a_step_that_waits_for_nothing_more_is_released_or_canceled() -> None:
    """WFE-007, WFE-008, WFP-004."""
    assert next_status(JOB, pending=0, unsatisfied=0) is ENQUEUED
    assert next_status(EXTERNAL, pending=0, unsatisfied=0) is WAITING
    assert next_status(JOB, pending=0, unsatisfied=1) is CANCELED
    assert next_status(EXTERNAL, pending=0, unsatisfied=1) is CANCELED


def test_roots_are_released_and_others_wait_for_all_they_name() -> None:
    """WFE-007, WFE-008."""
    assert starts_of(job("a"), gate("g"), job("c", "a", "g")) == {
        "a": StepStart(status=ENQUEUED),
        "g": StepStart(status=WAITING),
        "c": StepStart(status=BLOCKED, total=2, pending=2),
    }


@pytest.mark.parametrize("status", [BLOCKED, ENQUEUED, RUNNING, WAITING])
def test_a_new_step_waits_for_a_step_of_the_run_that_has_not_ended(status: WorkflowStepStatus) -> None:
    """WFA-020."""
    assert starts_of(job("new", "old"), existing={"old": status})["new"] == StepStart(total=1, pending=1)


@pytest.mark.parametrize("status", ENDS)
def test_a_new_step_after_one_that_has_ended_is_released_where_that_will_do(status: WorkflowStepStatus) -> None:
    """WFA-021."""
    assert starts_of(job("new", "old"), existing={"old": status})["new"] == StepStart(status=ENQUEUED, total=1)


@pytest.mark.parametrize("status", [FAILED, CANCELED])
def test_a_new_step_that_needs_a_success_which_did_not_come_is_born_canceled(status: WorkflowStepStatus) -> None:
    """WFA-019."""
    new = job("new", dependencies=on_success("old"))
    assert starts_of(new, existing={"old": status})["new"] == StepStart(status=CANCELED, total=1, unsatisfied=1)


def test_what_is_born_canceled_has_ended_for_the_new_steps_that_wait_for_it() -> None:
    """WFA-019, WFA-022."""
    starts = starts_of(
        job("report", "needs"),
        job("needs", dependencies=on_success("born")),
        job("born", dependencies=on_success("old")),
        existing={"old": FAILED},
    )

    assert starts == {
        "report": StepStart(status=ENQUEUED, total=1),
        "needs": StepStart(status=CANCELED, total=1, unsatisfied=1),
        "born": StepStart(status=CANCELED, total=1, unsatisfied=1),
    }


def test_a_chain_of_any_length_is_decided_without_recursion() -> None:
    steps = [job(str(n), dependencies=on_success(str(n - 1))) for n in range(50_000)]

    starts = start_steps(steps, {"-1": FAILED})

    assert {start.status for start in starts} == {CANCELED}


PREREQUISITES = st.lists(st.sampled_from([ON_SUCCESS, ON_TERMINAL, None]), min_size=1, max_size=40)


@given(
    modes=st.lists(PREREQUISITES, min_size=1, max_size=8), old=st.sampled_from(list(WorkflowStepStatus)), data=st.data()
)
def test_counters_agree_with_the_edges_whatever_the_graph(
    modes: list[list[WorkflowDependencyReleaseMode | None]], old: WorkflowStepStatus, data: st.DataObject
) -> None:
    keys = [str(n) for n in range(len(modes))]
    steps: list[WorkflowStepEnqueue] = []
    for n, wanted in enumerate(modes):
        names = data.draw(st.permutations(["old", *keys[:n]]))[: len(wanted)]
        specs = [
            WorkflowStepDependencySpec(prerequisite_step_key=name, release_mode=mode)
            for name, mode in zip(names, wanted, strict=False)
        ]
        steps.append(job(keys[n], dependencies=specs))
    random.Random(0).shuffle(steps)  # noqa: S311 - no secret

    starts = starts_of(*steps, existing={"old": old})

    status = {"old": old} | {key: start.status for key, start in starts.items()}
    for step in steps:
        start = starts[step.step_key]
        ended = [spec for spec in step.dependencies if status[spec.prerequisite_step_key].is_terminal]
        failing = [
            spec for spec in ended if not satisfies(status[spec.prerequisite_step_key], spec.effective_release_mode)
        ]
        assert start.total == len(step.dependencies)
        assert start.pending == len(step.dependencies) - len(ended)
        assert start.unsatisfied == len(failing)
        assert start.status is next_status(JOB, pending=start.pending, unsatisfied=start.unsatisfied)
