"""Enqueue: what is stored of a run, and what is not when the request is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from runledger.core import (
    JobStatus,
    StepCounts,
    WorkflowBuildError,
    WorkflowDagBuilder,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.postgres import QueryError, run_sync, workflows
from tests.core.workflows.dags import gate, job, run_of
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue, refused, workflow
from tests.races.session import Session

SHOP, DEPOT = UUID(int=1), UUID(int=2)
NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)

NO_DEFINITION = "workflow.definition_not_found_or_disabled"


def email(key: str, *prerequisites: str, **fields: Any) -> Any:
    return job(key, *prerequisites, **({"job_type": JOB_TYPE} | fields))


INVALID = {
    "workflow.invalid_dag_empty": run_of(),
    "workflow.invalid_dag_cycle": run_of(email("a", "b"), email("b", "a")),
    "workflow.invalid_dag_duplicate_step_key": run_of(email("a"), email("a")),
    "workflow.invalid_dag_missing_dependency": run_of(email("a", "b")),
}


@pytest.mark.parametrize("key", [None, "order-17"])
@pytest.mark.parametrize(("code", "steps"), INVALID.items(), ids=INVALID)
def test_what_is_no_workflow_is_refused_by_its_own_code_and_nothing_is_written(
    queue: WorkflowQueue, code: str, steps: WorkflowRunEnqueue, key: str | None
) -> None:
    """WFE-001. However the request was made: without builders, nothing has checked it before."""
    request = WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, steps=steps.steps, idempotency_key=key)
    before = queue.contents()

    with pytest.raises(WorkflowBuildError, check=lambda error: error.code == code):
        queue.start(request)

    assert queue.contents() == before


@pytest.mark.parametrize("key", [None, "order-17"])
@pytest.mark.parametrize("is_disabled", [True, False], ids=["disabled", "missing"])
def test_a_type_without_enabled_definition_is_refused_and_not_even_the_run_is_left(
    queue: WorkflowQueue, first: Session, key: str | None, *, is_disabled: bool
) -> None:
    """WFE-002, WFE-003. The original leaves the row of the run in a caller's transaction, here nothing is left."""
    if is_disabled:
        queue.define("invoice.send", is_enabled=False)
    flow = workflow(key)
    flow.job("b", "invoice.send", after=flow.job("a", JOB_TYPE))
    before = queue.contents()

    with refused(NO_DEFINITION) as caught:
        first.run(workflows.enqueue_workflow_run(flow.build()))
    first.commit()

    cause = "is disabled" if is_disabled else "has no definition"
    assert caught.value.client_message.startswith(f"job type 'invoice.send' {cause}; ")
    assert queue.contents() == before


def test_a_type_that_only_a_later_statement_would_carry_is_refused_by_the_first(queue: WorkflowQueue) -> None:
    """WFE-002, WFE-003."""
    flow = workflow()
    for n in range(1_001):
        flow.job(str(n), JOB_TYPE)
    flow.job("last", "invoice.send")
    queue.refuse("workflow_steps", "true", message="a step was inserted")

    with refused(NO_DEFINITION):
        queue.start(flow)


def test_steps_without_settings_take_those_of_the_definition(queue: WorkflowQueue) -> None:
    """WFE-004. They are copied once: what the definition says later does not change them."""
    queue.define("report", max_attempts=7, default_timeout=timedelta(seconds=45), default_priority=-3)
    flow = workflow()
    first = flow.job("first", "report")
    flow.job("second", "report", after=first)
    run_id = queue.start(flow)
    queue.define("report", max_attempts=1, default_timeout=timedelta(seconds=1), default_priority=1)

    for step in queue.steps(run_id).values():
        assert (step.priority, step.max_attempts, step.timeout_seconds, step.stage) == (-3, 7, 45, "queued")
    queue.succeed(queue.claim_steps()["first"])
    released = queue.job_of(run_id, "second")
    assert (released.priority, released.max_attempts, released.timeout_seconds, released.stage) == (-3, 7, 45, "queued")


def test_settings_of_a_step_are_stored_and_reach_its_job(queue: WorkflowQueue) -> None:
    """WFE-005."""
    flow = workflow(organization_id=SHOP)
    settings: dict[str, Any] = {"priority": -7, "max_attempts": 2, "timeout": timedelta(seconds=9), "stage": "packing"}
    flow.job("a", JOB_TYPE, {"n": 1}, organization_id=DEPOT, **settings)
    run_id = queue.start(flow)

    for stored in (queue.steps(run_id)["a"], queue.job_of(run_id, "a")):
        assert (stored.priority, stored.max_attempts, stored.timeout_seconds, stored.stage) == (-7, 2, 9, "packing")
        assert (stored.organization_id, stored.payload) == (DEPOT, {"n": 1})


def test_a_gate_has_no_job_and_no_settings(queue: WorkflowQueue) -> None:
    """WFE-006, WFE-008, WFE-009."""
    flow = workflow()
    flow.gate("approve", {"limit": 5})
    run_id = queue.start(flow)

    step = queue.steps(run_id)["approve"]
    assert step.execution_kind is WorkflowStepExecutionKind.EXTERNAL
    assert (step.job_type, step.priority, step.max_attempts, step.timeout_seconds, step.stage) == (None,) * 5
    assert (step.status, step.job_id, step.payload) == (WorkflowStepStatus.WAITING_FOR_EXTERNAL, None, {"limit": 5})
    assert step.released_at is not None
    assert queue.workflow_run(run_id).status is WorkflowRunStatus.WAITING_FOR_EXTERNAL
    assert queue.claim() == []


def test_roots_have_a_pending_job_and_others_wait(queue: WorkflowQueue) -> None:
    """WFE-007."""
    flow = workflow()
    a, b = flow.job("a", JOB_TYPE), flow.job("b", JOB_TYPE)
    flow.job("c", JOB_TYPE, after=[a, b])
    run_id = queue.start(flow)

    steps = queue.steps(run_id)
    for root in ("a", "b"):
        assert steps[root].status is WorkflowStepStatus.ENQUEUED
        assert steps[root].released_at == steps[root].created_at
        released = queue.job_of(run_id, root)
        assert (released.status, released.job_type, released.attempt) == (JobStatus.PENDING, JOB_TYPE, 0)
        assert queue.event_types(released.id) == ["ENQUEUED"]
    waiting = steps["c"]
    assert (waiting.status, waiting.job_id, waiting.released_at) == (WorkflowStepStatus.BLOCKED, None, None)
    assert (waiting.dependency_count_total, waiting.dependency_count_pending) == (2, 2)
    assert queue.sql("SELECT count(*) FROM job_queue") == [(2,)]


def test_a_run_that_waits_behind_a_gate_is_running(queue: WorkflowQueue) -> None:
    """WFE-009, WFP-011."""
    flow = workflow()
    flow.job("a", JOB_TYPE, after=flow.gate("g"))
    run_id = queue.start(flow)

    run = queue.workflow_run(run_id)
    assert run.status is WorkflowRunStatus.RUNNING
    assert run.step_counts == StepCounts(total=2, active=1, waiting=1, unsuccessful=0)


def test_what_the_call_returns_is_what_is_stored(queue: WorkflowQueue) -> None:
    metadata = {"by": "me", "ids": [SHOP]}
    request = (
        WorkflowDagBuilder(WORKFLOW_TYPE, metadata)
        .organization_id(SHOP)
        .result_step("a")
        .job("a", JOB_TYPE)
        .external("g")
        .build()
    )

    returned = queue.run(workflows.enqueue_workflow_run(request, now=NOON))

    assert returned == queue.workflow_run(returned.id)
    assert returned.metadata == {"by": "me", "ids": [str(SHOP)]}
    assert (returned.created_at, returned.started_at, returned.finished_at) == (NOON, NOON, None)
    assert (returned.organization_id, returned.result_step_key) == (SHOP, "a")
    assert {step.organization_id for step in queue.steps(returned.id).values()} == {SHOP}


def test_edges_keep_their_direction_and_mode(queue: WorkflowQueue) -> None:
    """WFP-019."""
    flow = workflow()
    a, g = flow.job("a", JOB_TYPE), flow.gate("g")
    flow.job("b", JOB_TYPE, after=a, after_terminal=g)
    built = flow.build()
    unset = WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, steps=(email("x"), email("y", "x")))

    assert queue.edges(queue.start(built)) == {("b", "a", "ON_SUCCESS"), ("b", "g", "ON_TERMINAL")}
    assert queue.edges(queue.start(unset)) == {("y", "x", "ON_TERMINAL")}


def test_a_step_and_its_job_point_at_each_other_and_cannot_stop_to(queue: WorkflowQueue) -> None:
    """WFE-010."""
    flow = workflow()
    flow.job("a", JOB_TYPE)
    flow.job("b", JOB_TYPE)
    run_id = queue.start(flow)
    steps = queue.steps(run_id)
    assert queue.sql("SELECT id, workflow_step_id FROM job_queue ORDER BY id") == sorted(
        (step.job_id, step.id) for step in steps.values()
    )

    for statement in (
        "UPDATE job_queue SET workflow_step_id = NULL WHERE workflow_step_id = %s",
        "UPDATE workflow_steps SET job_id = NULL WHERE id = %s",
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match="must point at each other"):
            queue.sql(statement, steps["a"].id)


def test_the_broken_link_is_told_by_its_code_when_the_transaction_of_an_operation_commits(queue: WorkflowQueue) -> None:
    """WFE-010."""
    queue.sql("""
        CREATE FUNCTION break_link() RETURNS trigger LANGUAGE plpgsql AS $function$
        BEGIN UPDATE runledger.workflow_steps SET job_id = NULL WHERE id = NEW.workflow_step_id; RETURN NULL; END
        $function$""")
    queue.sql("CREATE TRIGGER break AFTER INSERT ON job_queue FOR EACH ROW EXECUTE FUNCTION break_link()")
    flow = workflow()
    flow.job("a", JOB_TYPE)
    before = queue.contents()

    with refused("workflow.linkage_symmetry_violation"):
        queue.start(flow)

    assert queue.contents() == before


@pytest.mark.parametrize("key", [None, "order-17"])
@pytest.mark.parametrize("table", ["workflow_steps", "workflow_step_dependencies", "job_queue", "job_events"])
def test_a_failure_at_the_last_row_leaves_nothing_behind(
    queue: WorkflowQueue, first: Session, table: str, key: str | None
) -> None:
    """WFE-029. Neither on a connection of its own nor in a caller's transaction that goes on and commits."""
    flow = workflow(key)
    steps = [flow.job(f"s{n}", JOB_TYPE) for n in range(1_001)]
    flow.job("last", JOB_TYPE, after=steps[-1])
    last = {
        "workflow_steps": "NEW.step_key = 'last'",
        "workflow_step_dependencies": "NEW.dependent_step_id IS NOT NULL",
        "job_queue": "NEW.payload = '\"last root\"'",
        "job_events": "NEW.event_type = 'ENQUEUED'",
    }
    if table == "job_queue":
        flow.job("root", JOB_TYPE, "last root")
    queue.refuse(table, last[table])
    before = queue.contents()

    with pytest.raises(QueryError):
        queue.start(flow)
    with pytest.raises(QueryError):
        first.run(workflows.enqueue_workflow_run(flow.build()))
    first.commit()

    assert queue.contents() == before


def test_a_run_commits_and_goes_with_the_transaction_of_the_caller(queue: WorkflowQueue, first: Session) -> None:
    flow = workflow()
    flow.job("a", JOB_TYPE)
    before = queue.contents()

    first.run(workflows.enqueue_workflow_run(flow.build()))
    assert queue.contents() == before
    first.rollback()
    assert queue.contents() == before
    run = first.run(workflows.enqueue_workflow_run(flow.build()))
    first.commit()

    assert queue.statuses(run.id) == {"a": "ENQUEUED"}


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_run_without_key_is_enqueued_at_any_isolation(queue: WorkflowQueue, level: str) -> None:
    flow = workflow()
    flow.job("a", JOB_TYPE)
    with psycopg.connect(queue.url) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        run = run_sync(connection, workflows.enqueue_workflow_run(flow.build()))

    assert queue.statuses(run.id) == {"a": "ENQUEUED"}


def test_gates_and_jobs_may_be_roots_together(queue: WorkflowQueue) -> None:
    """WFE-007, WFE-008."""
    run = WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, steps=(email("a"), gate("g"), gate("h", "a", "g")))
    run_id = queue.start(run)

    assert queue.statuses(run_id) == {"a": "ENQUEUED", "g": "WAITING_FOR_EXTERNAL", "h": "BLOCKED"}
    assert list(queue.steps(run_id)) == ["a", "g", "h"], "in the order of the request"
