"""Append: through a gate that waits, what is stored, what is refused, and what a repeated call does."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    Global,
    InvalidArgumentError,
    Organization,
    Scope,
    StepCounts,
    WorkflowAppendOutcome,
    WorkflowAppendResult,
    WorkflowBuildError,
    WorkflowRunStatus,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
    WorkflowStepStatus,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode
from runledger.postgres import QueryError, QueryErrorCategory, workflows
from runledger.postgres.workflows import WorkflowAppendRequest
from tests.core.workflows.dags import gate, job
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import CANCELED, FAILED, SUCCEEDED, WorkflowQueue, refused, workflow
from tests.races.session import Session

SHOP, DEPOT = UUID(int=1), UUID(int=2)
KEY = "packages/hunter2"

APPENDED, ALREADY_APPLIED = WorkflowAppendOutcome.APPENDED, WorkflowAppendOutcome.ALREADY_APPLIED
ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
CONFLICT = "workflow.append_conflicting_retry"
UNSATISFIED = "workflow.dependency_unsatisfied"


def email(key: str, *prerequisites: str, **fields: Any) -> WorkflowStepEnqueue:
    return job(key, *prerequisites, **({"job_type": JOB_TYPE} | fields))


def needing(key: str, *prerequisites: str) -> WorkflowStepEnqueue:
    """Return a step that needs the success of others."""
    specs = [WorkflowStepDependencySpec(prerequisite_step_key=one, release_mode=ON_SUCCESS) for one in prerequisites]
    return email(key, dependencies=specs)


def open_run(queue: WorkflowQueue, organization_id: UUID | None = None) -> UUID:
    """Return a run with an open gate, a root, and a step that waits for both."""
    flow = workflow(organization_id=organization_id)
    window, root = flow.gate("open"), flow.job("root", JOB_TYPE)
    flow.job("last", JOB_TYPE, after_terminal=[window, root])
    return queue.start(flow)


def request(*steps: WorkflowStepEnqueue, window: str = "open", key: str = KEY, **fields: Any) -> WorkflowAppendRequest:
    return WorkflowAppendRequest(mutation_key=key, window_step_key=window, steps=steps, **fields)


STEPS: Sequence[WorkflowStepEnqueue] = (
    email("pack", "build", "root", payload={"n": 1, "price": 1.5}),
    email("build"),
    gate("check", "pack"),
)
REQUEST = request(*STEPS, metadata={"by": "me"})


def append(queue: WorkflowQueue, run_id: UUID, asked: WorkflowAppendRequest = REQUEST) -> WorkflowAppendResult:
    return queue.run(workflows.append_workflow_steps(run_id, asked, scope=Admin()))


def test_steps_are_appended_and_those_that_wait_for_nothing_are_released(queue: WorkflowQueue) -> None:
    """WFA-001, WFA-002, WFA-022."""
    run_id = open_run(queue)

    result = append(queue, run_id)

    assert result.outcome is APPENDED
    assert [step.step_key for step in result.steps] == ["pack", "build", "check"]
    steps = queue.steps(run_id)
    assert list(result.steps) == [steps[step.step_key] for step in STEPS]
    assert [step.status.value for step in result.steps] == ["BLOCKED", "ENQUEUED", "BLOCKED"]
    assert queue.counters(run_id)["pack"] == (2, 0)
    released = queue.job_of(run_id, "build")
    assert (released.job_type, queue.event_types(released.id)) == (JOB_TYPE, ["ENQUEUED"])
    assert result.run == queue.workflow_run(run_id)
    assert result.run.step_counts == StepCounts(total=6, active=5, waiting=1, unsuccessful=0)


def test_appended_steps_go_through_like_any_other(queue: WorkflowQueue) -> None:
    """WFA-001, WFA-022."""
    run_id = open_run(queue)
    append(queue, run_id)

    queue.succeed_all(queue.claim())
    queue.succeed(queue.claim_steps()["pack"])
    queue.complete(run_id, "check")
    queue.complete(run_id, "open")
    queue.succeed(queue.claim_steps()["last"])

    assert queue.workflow_run(run_id).status is WorkflowRunStatus.SUCCEEDED


def test_edges_of_appended_steps_keep_direction_and_mode(queue: WorkflowQueue) -> None:
    """WFP-019."""
    run_id = open_run(queue)
    before = queue.edges(run_id)

    append(queue, run_id, request(needing("a", "root"), email("b", "a", "open")))

    assert queue.edges(run_id) - before == {
        ("a", "root", "ON_SUCCESS"),
        ("b", "a", "ON_TERMINAL"),
        ("b", "open", "ON_TERMINAL"),
    }


def test_a_run_that_waited_for_its_gate_is_running_again(queue: WorkflowQueue) -> None:
    flow = workflow()
    flow.gate("open")
    run_id = queue.start(flow)
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.WAITING_FOR_EXTERNAL

    assert append(queue, run_id, request(gate("more"), key="gate")).run.status is WorkflowRunStatus.WAITING_FOR_EXTERNAL
    assert append(queue, run_id, request(email("a"))).run.status is WorkflowRunStatus.RUNNING


def test_what_was_asked_for_is_kept_with_the_key(queue: WorkflowQueue) -> None:
    run_id = open_run(queue)
    append(queue, run_id)

    ((key, metadata, stored),) = queue.sql("SELECT mutation_key, metadata, request FROM workflow_run_mutations")

    assert (key, metadata, stored["append_window_step_key"]) == (KEY, {"by": "me"}, "open")
    assert [step["step_key"] for step in stored["steps"]] == ["build", "check", "pack"]


# Again ----------------------------------------------------------------------------------------------------------------


def test_the_same_again_returns_the_steps_as_they_are_and_writes_nothing(queue: WorkflowQueue) -> None:
    """WFA-003."""
    run_id = open_run(queue)
    first = append(queue, run_id)
    claimed = queue.claim_steps()
    before = queue.contents()

    again = append(queue, run_id)

    assert again.outcome is ALREADY_APPLIED
    assert [step.id for step in again.steps] == [step.id for step in first.steps]
    assert again.steps[1].status is WorkflowStepStatus.RUNNING
    assert claimed["build"].workflow_step_id == again.steps[1].id
    assert queue.contents() == before


SAME = {
    "WFA-006 numbers by value": request(replace(STEPS[0], payload={"n": 1.0, "price": 1.50}), *STEPS[1:]),
    "WFA-007 steps and dependencies reordered": request(
        STEPS[2], STEPS[1], email("pack", "root", "build", payload={"price": 1.5, "n": 1})
    ),
    "WFA-009 other metadata": replace(REQUEST, metadata={"by": "you"}),
    "a default spelled out": request(STEPS[0], replace(STEPS[1], stage="queued"), STEPS[2]),
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_what_says_the_same_is_the_same(queue: WorkflowQueue, same: WorkflowAppendRequest) -> None:
    """WFA-006, WFA-007, WFA-009."""
    run_id = open_run(queue)
    append(queue, run_id)

    again = append(queue, run_id, same)

    assert again.outcome is ALREADY_APPLIED
    assert [step.step_key for step in again.steps] == [step.step_key for step in same.steps]


OTHER = {
    "payload": request(replace(STEPS[0], payload={"n": 2}), *STEPS[1:]),
    "a step more": request(*STEPS, email("more")),
    "a step less": request(email("build")),
    "another window": request(*STEPS, window="last"),
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_other_steps_with_the_key_are_refused_in_public_without_it(
    queue: WorkflowQueue, other: WorkflowAppendRequest
) -> None:
    """WFA-004, WFA-005."""
    run_id = open_run(queue)
    append(queue, run_id)
    before = queue.contents()

    with refused(CONFLICT, QueryErrorCategory.CONFLICT, says="needs a `mutation_key=` of its own") as caught:
        append(queue, run_id, other)

    assert KEY in caught.value.internal_message
    assert KEY not in caught.value.client_message + repr(caught.value) + str(caught.value)
    assert KEY not in "".join(traceback.format_exception_only(caught.value))
    assert queue.contents() == before


def test_a_request_that_an_older_version_stored_is_the_same(queue: WorkflowQueue) -> None:
    """WFA-008."""
    run_id = open_run(queue, SHOP)
    append(queue, run_id)
    ((stored,),) = queue.sql("SELECT request FROM workflow_run_mutations")
    del stored["append_window_step_key"]
    stored["version"] = 1
    for step in stored["steps"]:
        del step["organization_id"], step["stage"]
        step["unknown"] = [1]
    queue.sql("UPDATE workflow_run_mutations SET request = %s", json.dumps(stored))

    assert append(queue, run_id).outcome is ALREADY_APPLIED


@pytest.mark.parametrize("end", ["gate", "cancel"])
def test_the_same_is_known_after_the_window_has_closed_and_new_steps_are_not_taken(
    queue: WorkflowQueue, end: str
) -> None:
    """WFA-010, WFA-011."""
    run_id = open_run(queue)
    append(queue, run_id)
    if end == "gate":
        queue.complete(run_id, "open")
    else:
        queue.cancel_run(run_id)
    before = queue.contents()

    assert append(queue, run_id).outcome is ALREADY_APPLIED
    with refused("workflow.append_window_not_open"):
        append(queue, run_id, request(email("more"), key="more"))

    assert queue.contents() == before


def test_several_batches_are_appended_while_the_window_is_open(queue: WorkflowQueue) -> None:
    """WFA-001."""
    run_id = open_run(queue)
    for n in range(3):
        previous = f"s{n - 1}" if n else "root"
        assert append(queue, run_id, request(email(f"s{n}", previous), key=str(n))).outcome is APPENDED

    assert queue.workflow_run(run_id).step_counts.total == 6


def test_a_key_belongs_to_its_run(queue: WorkflowQueue) -> None:
    for run_id in (open_run(queue), open_run(queue)):
        assert append(queue, run_id).outcome is APPENDED


# Refused --------------------------------------------------------------------------------------------------------------


def test_a_window_that_is_none_is_refused(queue: WorkflowQueue) -> None:
    """WFA-011, WFA-012."""
    flow = workflow()
    flow.gate("later", after=flow.job("root", JOB_TYPE))
    run_id = queue.start(flow)
    before = queue.contents()

    for window, code in (("nothing", "missing"), ("root", "not_external"), ("later", "not_open")):
        with refused(f"workflow.append_window_{code}"):
            append(queue, run_id, request(email("more"), window=window))
    with refused("workflow.append_window_not_external", says="context.append_steps"):
        append(queue, run_id, request(email("more"), window="root"))

    assert queue.contents() == before


def test_what_is_no_list_of_steps_is_refused_by_name(queue: WorkflowQueue) -> None:
    not_steps: list[Any] = [{"a": 1}, 5, None, "build"]
    for steps in not_steps:
        with pytest.raises(InvalidArgumentError, match=r"steps: is of type .*; pass a tuple or list"):
            append(queue, uuid4(), replace(REQUEST, steps=steps))


def test_an_append_of_nothing_is_refused_before_the_database_is_asked(queue: WorkflowQueue) -> None:
    """A step that finds nothing to do is ordinary, so the text says what to do then."""
    with pytest.raises(WorkflowBuildError, match="append only when there is something to append") as caught:
        append(queue, uuid4(), replace(REQUEST, steps=()))

    assert caught.value.code == "workflow.invalid_dag_empty"


@pytest.mark.parametrize("key", ["", "  ", "\t"])
def test_a_blank_key_is_refused(queue: WorkflowQueue, key: str) -> None:
    """WFA-013."""
    with pytest.raises(InvalidArgumentError, check=lambda error: error.code == "workflow.append_mutation_key_blank"):
        append(queue, uuid4(), request(email("more"), key=key))


@pytest.mark.parametrize("key", ["x" * 1_025, "a\0b", 7])
def test_a_key_that_cannot_be_stored_is_refused_without_naming_it(queue: WorkflowQueue, key: Any) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "mutation_key"):
        append(queue, uuid4(), request(email("more"), key=key))


def test_a_run_that_has_ended_with_its_window_open_is_refused(queue: WorkflowQueue) -> None:
    """WFA-014. Nothing makes such a run; the check of the window comes first."""
    run_id = open_run(queue)
    queue.sql("UPDATE workflow_runs SET status = 'CANCELED'")

    with refused("workflow.append_terminal_run"):
        append(queue, run_id)
    with refused("workflow.append_window_missing", says="the run has no step 'nothing' to append through; `runledger"):
        append(queue, run_id, request(email("more"), window="nothing"))


@pytest.mark.parametrize(
    ("owner", "scope", "is_inside"),
    [
        (SHOP, Organization(SHOP), True),
        (None, Global(), True),
        (SHOP, Organization(DEPOT), False),
        (SHOP, Global(), False),
        (None, Organization(SHOP), False),
    ],
)
def test_a_run_outside_the_scope_is_not_found(
    queue: WorkflowQueue, owner: UUID | None, scope: Scope, *, is_inside: bool
) -> None:
    """WFA-015."""
    run_id = open_run(queue, owner)
    asked = workflows.append_workflow_steps(run_id, REQUEST, scope=scope)
    if is_inside:
        assert {step.organization_id for step in queue.run(asked).steps} == {owner}
        return
    before = queue.contents()

    with refused("workflow.run_not_found"):
        queue.run(asked)

    assert queue.contents() == before


def test_an_unknown_run_is_not_found(queue: WorkflowQueue) -> None:
    """WFA-015."""
    with refused("workflow.run_not_found"):
        append(queue, uuid4())


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_nothing_is_appended(queue: WorkflowQueue, first: Session, level: str) -> None:
    """WFA-016."""
    run_id = open_run(queue)
    before = queue.contents()
    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    with refused("workflow.append_unsupported_isolation"):
        first.run(workflows.append_workflow_steps(run_id, REQUEST, scope=Admin()))
    first.commit()

    assert queue.contents() == before


@pytest.mark.parametrize("is_disabled", [True, False], ids=["disabled", "missing"])
def test_a_type_without_enabled_definition_is_refused_before_any_row(
    queue: WorkflowQueue, first: Session, *, is_disabled: bool
) -> None:
    """WFA-018."""
    if is_disabled:
        queue.define("report", is_enabled=False)
    run_id = open_run(queue)
    queue.refuse("workflow_steps", "true", message="a step was inserted")
    before = queue.contents()

    with refused("workflow.definition_not_found_or_disabled"):
        first.run(
            workflows.append_workflow_steps(run_id, request(email("a"), job("b", job_type="report")), scope=Admin())
        )
    first.commit()

    assert queue.contents() == before


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([], "workflow.invalid_dag_empty"),
        ([email("a", "b"), email("b", "a")], "workflow.invalid_dag_cycle"),
        ([email("root")], "workflow.invalid_dag_duplicate_step_key"),
        ([email("a", "nothing")], "workflow.invalid_dag_missing_dependency"),
    ],
)
def test_steps_that_do_not_fit_the_run_are_refused(
    queue: WorkflowQueue, first: Session, steps: list[WorkflowStepEnqueue], code: str
) -> None:
    run_id = open_run(queue)
    before = queue.contents()

    with pytest.raises(WorkflowBuildError, check=lambda error: error.code == code):
        first.run(workflows.append_workflow_steps(run_id, request(*steps), scope=Admin()))
    first.commit()

    assert queue.contents() == before


@pytest.mark.parametrize("table", ["workflow_step_dependencies", "job_events", "workflow_run_mutations"])
def test_a_failure_on_the_way_leaves_nothing_behind(queue: WorkflowQueue, first: Session, table: str) -> None:
    """WFA-017."""
    run_id = open_run(queue)
    queue.refuse(table, "true")
    before = queue.contents()

    with pytest.raises(QueryError):
        first.run(workflows.append_workflow_steps(run_id, REQUEST, scope=Admin()))
    first.commit()

    assert queue.contents() == before


# What the new steps find ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [FAILED, CANCELED])
def test_a_step_that_needs_a_success_which_did_not_come_is_born_canceled(
    queue: WorkflowQueue, status: WorkflowStepStatus
) -> None:
    """WFA-019. What waits for it, whatever its end, is released."""
    flow = workflow()
    flow.gate("open")
    flow.gate("gate")
    run_id = queue.start(flow)
    queue.complete(run_id, "gate", status)

    result = append(queue, run_id, request(email("report", "born"), needing("next", "born"), needing("born", "gate")))

    report, following, born = result.steps
    for step in (born, following):
        assert (step.status, step.status_reason, step.last_error_code) == (CANCELED, UNSATISFIED, UNSATISFIED)
        assert step.last_error_message
        assert (step.job_id, step.released_at) == (None, None)
        assert step.finished_at is not None
        assert (step.dependency_count_pending, step.dependency_count_unsatisfied) == (0, 1)
    assert report.status is WorkflowStepStatus.ENQUEUED
    assert result.run.step_counts == StepCounts(total=5, active=1, waiting=1, unsuccessful=3)


def test_a_step_waits_for_one_of_the_run_that_has_not_ended(queue: WorkflowQueue) -> None:
    """WFA-020. And hears of its end."""
    run_id = open_run(queue)

    append(queue, run_id, request(needing("more", "root")))

    assert (queue.statuses(run_id)["more"], queue.counters(run_id)["more"]) == ("BLOCKED", (1, 0))
    queue.succeed(queue.claim_steps()["root"])
    assert queue.statuses(run_id)["more"] == "ENQUEUED"


@pytest.mark.parametrize("status", [SUCCEEDED, FAILED, CANCELED])
def test_a_step_after_the_end_of_another_is_released_at_once(queue: WorkflowQueue, status: WorkflowStepStatus) -> None:
    """WFA-021."""
    flow = workflow()
    flow.gate("open")
    flow.gate("gate")
    run_id = queue.start(flow)
    queue.complete(run_id, "gate", status)

    (step,) = append(queue, run_id, request(email("more", "gate"))).steps

    assert (step.status, step.dependency_count_total, step.dependency_count_pending) == ("ENQUEUED", 1, 0)


def test_a_large_append_returns_its_steps_in_the_order_of_the_request(queue: WorkflowQueue) -> None:
    """WFA-023. More rows than one statement takes; shuffled keys and chains between them."""
    run_id = open_run(queue)
    keys = [f"s{n * 7919 % 1_200:04}" for n in range(1_200)]
    steps = [email(key, *([keys[n - 1]] if n % 3 else ["root"])) for n, key in enumerate(keys)]

    first = append(queue, run_id, request(*steps))
    again = append(queue, run_id, request(*steps))

    assert (first.outcome, again.outcome) == (APPENDED, ALREADY_APPLIED)
    assert [step.step_key for step in first.steps] == keys
    assert [step.id for step in again.steps] == [step.id for step in first.steps]
    assert queue.workflow_run(run_id).step_counts.total == 1_203
    assert len(queue.edges(run_id)) == 1_202
