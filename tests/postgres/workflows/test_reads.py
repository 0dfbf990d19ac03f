"""Reads: each within its scope, in a stated order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    Global,
    InvalidArgumentError,
    Organization,
    Scope,
    WorkerIdentity,
    Workflow,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.postgres import Operation, admin, jobs, workers, workflows
from tests.postgres.job_queue import JOB_TYPE, WORKER
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue, diamond, failure_of, workflow

SHOP, DEPOT = UUID(int=1), UUID(int=2)


def start(queue: WorkflowQueue, workflow_type: str = WORKFLOW_TYPE, organization_id: UUID | None = None) -> UUID:
    flow = Workflow(workflow_type, organization_id=organization_id)
    flow.gate("gate", after=flow.job("a", JOB_TYPE))
    return queue.start(flow)


SCOPES: list[tuple[UUID | None, Scope, bool]] = [
    (SHOP, Organization(SHOP), True),
    (SHOP, Admin(), True),
    (None, Global(), True),
    (None, Admin(), True),
    (SHOP, Organization(DEPOT), False),
    (SHOP, Organization(UUID(int=0)), False),
    (SHOP, Global(), False),
    (None, Organization(SHOP), False),
]

READS: dict[str, Callable[[UUID, UUID, Scope], Operation[Any]]] = {
    "by id": lambda run_id, _, scope: workflows.get_workflow_run_by_id(run_id, scope=scope),
    "list": lambda _, __, scope: workflows.list_workflow_runs(scope=scope),
    "latest": lambda _, __, scope: workflows.get_latest_workflow_run_by_type(WORKFLOW_TYPE, scope=scope),
    "steps": lambda run_id, _, scope: workflows.list_workflow_steps(run_id, scope=scope),
    "enqueued steps": lambda run_id, _, scope: workflows.list_enqueued_workflow_steps(run_id, scope=scope),
    "edges": lambda run_id, _, scope: workflows.list_workflow_step_dependencies(run_id, scope=scope),
    "run of a job": lambda _, job_id, scope: workflows.get_workflow_run_id_for_job(job_id, scope=scope),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(("owner", "scope", "is_inside"), SCOPES)
def test_what_is_outside_the_scope_is_not_there(
    queue: WorkflowQueue,
    owner: UUID | None,
    scope: Scope,
    read: Callable[[UUID, UUID, Scope], Operation[Any]],
    *,
    is_inside: bool,
) -> None:
    run_id = start(queue, organization_id=owner)
    job_id = queue.job_of(run_id, "a").id

    assert bool(queue.run(read(run_id, job_id, scope))) == is_inside


def test_what_does_not_exist_is_none_or_empty(queue: WorkflowQueue) -> None:
    unknown = uuid4()

    assert queue.run(workflows.get_workflow_run_by_id(unknown, scope=Admin())) is None
    assert queue.run(workflows.get_latest_workflow_run_by_type("nothing", scope=Admin())) is None
    assert queue.run(workflows.list_workflow_steps(unknown, scope=Admin())) == []
    assert queue.run(workflows.list_enqueued_workflow_steps(unknown, scope=Admin())) == []
    assert queue.run(workflows.list_workflow_step_dependencies(unknown, scope=Admin())) == []
    assert queue.run(workflows.get_workflow_run_id_for_job(unknown, scope=Admin())) is None
    assert queue.run(workflows.list_workflow_runs(scope=Admin())) == []


def test_runs_come_newest_first_in_pages(queue: WorkflowQueue) -> None:
    ids = [start(queue) for _ in range(5)]

    def page(before: UUID | None) -> list[UUID]:
        return [run.id for run in queue.run(workflows.list_workflow_runs(scope=Admin(), limit=2, before_run_id=before))]

    assert page(None) == [ids[4], ids[3]]
    assert page(ids[3]) == [ids[2], ids[1]]
    assert page(ids[1]) == [ids[0]]
    assert page(ids[0]) == []


def test_runs_are_filtered_by_status_and_by_a_part_of_their_type_read_literally(queue: WorkflowQueue) -> None:
    shipped, returned = start(queue, "Order.Ship"), start(queue, "order_return")
    queue.cancel_run(returned)

    def found(contains: str | None = None, status: WorkflowRunStatus | None = None) -> list[UUID]:
        listed = workflows.list_workflow_runs(scope=Admin(), workflow_type_contains=contains, status=status)
        return [run.id for run in queue.run(listed)]

    assert found("ORDER") == [returned, shipped]
    assert (found("ship"), found("r_r"), found("%"), found("_s")) == ([shipped], [returned], [], [])
    assert found(status=WorkflowRunStatus.CANCELED) == [returned]
    assert found("order", WorkflowRunStatus.RUNNING) == [shipped]


def test_runs_in_which_a_gate_waits_are_found_whatever_their_status(queue: WorkflowQueue) -> None:
    def enqueue(owner: UUID | None = None, *, is_blocking: bool) -> UUID:
        flow = workflow(organization_id=owner)
        gate = flow.gate("approve")
        if is_blocking:
            flow.job("pay", JOB_TYPE, after=gate)
        return queue.start(flow)

    def found(scope: Scope = Admin(), **filters: Any) -> list[UUID]:  # noqa: B008 (frozen)
        listed = workflows.list_workflow_runs(scope=scope, has_waiting_gate=True, **filters)
        return [run.id for run in queue.run(listed)]

    waiting, running, owned = enqueue(is_blocking=False), enqueue(is_blocking=True), enqueue(SHOP, is_blocking=True)
    blocked, completed, canceled = start(queue), enqueue(is_blocking=True), enqueue(is_blocking=True)
    queue.complete(completed, "approve")
    queue.cancel_run(canceled)

    assert found() == [owned, running, waiting]
    assert (found(limit=1), found(limit=1, before_run_id=owned)) == ([owned], [running])
    assert (found(status=WorkflowRunStatus.RUNNING), found(Organization(SHOP))) == ([owned, running], [owned])
    assert (found(workflow_type_contains="FULFIL", scope=Global()), found(workflow_type_contains="sms")) == (
        [running, waiting],
        [],
    )
    queue.succeed(queue.claim_steps()["a"])
    assert found()[0] == blocked


def test_the_latest_run_is_that_of_the_exact_type_in_the_scope(queue: WorkflowQueue) -> None:
    start(queue)
    latest = start(queue, organization_id=SHOP)
    start(queue, "order")

    def found(scope: Scope) -> UUID | None:
        run = queue.run(workflows.get_latest_workflow_run_by_type(WORKFLOW_TYPE, scope=scope))
        return None if run is None else run.id

    assert (found(Admin()), found(Organization(SHOP))) == (latest, latest)
    assert found(Global()) not in {latest, None}
    assert found(Organization(DEPOT)) is None


def test_steps_come_in_the_order_of_the_request_in_pages(queue: WorkflowQueue) -> None:
    flow = workflow()
    keys = [f"s{n * 7 % 10}" for n in range(10)]
    for key in keys:
        flow.job(key, JOB_TYPE)
    run_id = queue.start(flow)

    def page(limit: int | None, after: UUID | None = None) -> list[Any]:
        return queue.run(workflows.list_workflow_steps(run_id, scope=Admin(), limit=limit, after_step_id=after))

    assert [step.step_key for step in page(None)] == keys
    first = page(4)
    assert [step.step_key for step in page(4, first[-1].id)] == keys[4:8]


def test_enqueued_steps_tell_what_they_wait_for(queue: WorkflowQueue) -> None:
    for job_type in ("paused", "alone", "stopping"):
        queue.define(job_type)
    flow = workflow()
    retried, held = flow.job("retried", JOB_TYPE), flow.job("held", JOB_TYPE)
    flow.gate("gate", after=[retried, held])
    for job_type in ("paused", "alone", "stopping"):
        flow.job(job_type, job_type)
    run_id = queue.start(flow)
    claimed = {job.workflow_step_key: job for job in queue.claim(job_types=[JOB_TYPE])}
    queue.run(jobs.fail_job(failure_of(claimed["retried"])))
    queue.run(admin.pause_job_type("paused"))
    register(queue, "dead", JOB_TYPE, "alone", lease_ttl=timedelta(minutes=1))
    register(queue, "live", JOB_TYPE, "paused", lease_ttl=timedelta(hours=1))
    register(queue, "leaving", "stopping", lease_ttl=timedelta(hours=1))
    queue.sql("UPDATE job_workers SET stopping_at = now() WHERE worker_id = 'leaving'")
    now = queue.clock() + timedelta(minutes=2)

    listed = queue.run(workflows.list_enqueued_workflow_steps(run_id, scope=Admin(), now=now))

    steps = queue.steps(run_id)
    assert [(step.step_id, step.job_id) for step in listed] == [
        (steps[key].id, steps[key].job_id) for key in ("retried", "paused", "alone", "stopping")
    ]
    assert [(step.job_type, step.attempt, step.max_attempts, step.last_error_code) for step in listed] == [
        (JOB_TYPE, 1, 3, "smtp.busy"),
        ("paused", 0, 3, None),
        ("alone", 0, 3, None),
        ("stopping", 0, 3, None),
    ]
    assert [(step.is_type_paused, step.is_type_served) for step in listed] == [
        (False, True),
        (True, True),
        (False, False),
        (False, False),
    ]
    assert listed[0].next_run_at == queue.job_of(run_id, "retried").next_run_at


def register(queue: WorkflowQueue, worker_id: str, *job_types: str, lease_ttl: timedelta) -> None:
    """Put a worker into the table of live ones."""
    identity = WorkerIdentity(
        worker_id=worker_id,
        instance_id=uuid4(),
        hostname="host-1",
        process_id=17,
        version="1.0",
        job_types=job_types,
        slots=8,
    )
    queue.run(workers.register_worker(identity, lease_ttl=lease_ttl))


def test_edges_come_by_prerequisite_and_dependent(queue: WorkflowQueue) -> None:
    run_id = queue.start(diamond())

    edges = queue.run(workflows.list_workflow_step_dependencies(run_id, scope=Admin()))

    assert [(edge.prerequisite_step_key, edge.dependent_step_key) for edge in edges] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "d"),
        ("c", "d"),
    ]
    ids = [(edge.prerequisite_step_id, edge.dependent_step_id) for edge in edges]
    assert ids == sorted(ids)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_that_is_none_is_refused(queue: WorkflowQueue, limit: Any) -> None:
    for read in (
        workflows.list_workflow_runs(scope=Admin(), limit=limit),
        workflows.list_workflow_steps(uuid4(), scope=Admin(), limit=limit),
    ):
        with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "limit"):
            queue.run(read)


def test_none_is_no_scope(queue: WorkflowQueue) -> None:
    """It fails closed."""
    nobody: Any = None
    run_id = start(queue)

    for operation in (
        workflows.get_workflow_run_by_id(run_id, scope=nobody),
        workflows.list_workflow_runs(scope=nobody),
        workflows.cancel_workflow_run(run_id, scope=nobody),
        workflows.complete_external_workflow_step(run_id, "gate", scope=nobody),
    ):
        with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "scope"):
            queue.run(operation)

    assert queue.workflow_run(run_id).status is WorkflowRunStatus.RUNNING


# Outputs and results --------------------------------------------------------------------------------------------------


def test_prerequisites_are_read_by_key_as_they_ended(queue: WorkflowQueue) -> None:
    """A job that failed has no output; a gate has what it was completed with, whatever that was as."""
    flow = workflow()
    given, silent, failed = (flow.job(key, JOB_TYPE) for key in ("given", "silent", "failed"))
    gate, refused_gate, open_gate = flow.gate("gate"), flow.gate("refused"), flow.gate("open")
    unreached = flow.job("unreached", JOB_TYPE, after=refused_gate)
    flow.job("other", JOB_TYPE)
    flow.job("last", JOB_TYPE, after_terminal=[given, silent, failed, gate, refused_gate, unreached, open_gate])
    run_id = queue.start(flow)
    claimed = queue.claim_steps()
    queue.succeed(claimed["given"], '{"n":1}')
    queue.succeed(claimed["silent"])
    queue.succeed(claimed["other"], "7")
    queue.dead_letter_now(claimed["failed"])
    queue.complete(run_id, "gate", output=[1, 2])
    queue.complete(
        run_id,
        "refused",
        status=WorkflowStepStatus.FAILED,
        output={"why": "too dear"},
        reason="refused by Ada",
        error_code="approval.refused",
        error_message="too dear",
    )

    steps = queue.run(workflows.read_prerequisites(run_id, queue.steps(run_id)["last"].id))

    assert list(steps) == ["given", "silent", "failed", "gate", "refused", "open", "unreached"]
    assert {key: step.step_key for key, step in steps.items()} == {key: key for key in steps}
    assert {key: (step.status.value, step.output, step.last_error_code) for key, step in steps.items()} == {
        "given": ("SUCCEEDED", {"n": 1}, None),
        "silent": ("SUCCEEDED", None, None),
        "failed": ("FAILED", None, "smtp.busy"),
        "gate": ("SUCCEEDED", [1, 2], None),
        "refused": ("FAILED", {"why": "too dear"}, "approval.refused"),
        "unreached": ("CANCELED", None, "workflow.dependency_unsatisfied"),
        "open": ("WAITING_FOR_EXTERNAL", None, None),
    }
    assert (steps["refused"].status_reason, steps["refused"].last_error_message) == ("refused by Ada", "too dear")
    assert "too dear" not in repr(steps)


@pytest.mark.parametrize(("output", "result"), [('{"n":1}', {"n": 1}), ("null", None), (None, None), ("0", 0)])
def test_the_output_of_the_result_step_is_the_result_of_the_run(
    queue: WorkflowQueue, output: str | None, result: Any
) -> None:
    """Also before the run has ended."""
    flow = workflow()
    flow.job("last", JOB_TYPE, after=flow.job("first", JOB_TYPE))
    run_id = queue.start(replace(flow.build(), result_step_key="first"))
    before = queue.workflow_run(run_id)
    assert (before.has_result, before.result) == (False, None)

    queue.succeed(queue.claim_steps()["first"], output)

    run = queue.workflow_run(run_id)
    assert (run.status, run.has_result, run.result) == (WorkflowRunStatus.RUNNING, True, result)
    queue.succeed(queue.claim_steps()["last"], '"other"')
    run = queue.workflow_run(run_id)
    assert (run.status, run.has_result, run.result) == (WorkflowRunStatus.SUCCEEDED, True, result)


@pytest.mark.parametrize("end", ["failed", "canceled", "run canceled"])
def test_without_success_of_the_result_step_there_is_no_result(queue: WorkflowQueue, end: str) -> None:
    flow = workflow()
    last = flow.job("last", JOB_TYPE, after=flow.job("first", JOB_TYPE))
    flow.result_step(last)
    run_id = queue.start(flow)
    match end:
        case "failed":
            queue.succeed(queue.claim_steps()["first"], "1")
            queue.dead_letter_now(queue.claim_steps()["last"])
        case "canceled":
            queue.dead_letter_now(queue.claim_steps()["first"])
        case _:
            queue.cancel_run(run_id)

    run = queue.workflow_run(run_id)
    assert (run.status.is_terminal, run.has_result, run.result) == (True, False, None)


@pytest.mark.parametrize(("output", "result"), [({"by": "me"}, {"by": "me"}), (None, None)])
def test_a_gate_may_be_the_result_step(queue: WorkflowQueue, output: Any, result: Any) -> None:
    flow = workflow()
    flow.result_step(flow.gate("approve"))
    run_id = queue.start(flow)

    queue.complete(run_id, "approve", output=output)

    run = queue.workflow_run(run_id)
    assert (run.status, run.has_result, run.result) == (WorkflowRunStatus.SUCCEEDED, True, result)


def test_results_of_several_runs_in_one_batch_do_not_mix(queue: WorkflowQueue) -> None:
    run_ids: list[UUID] = []
    for n in range(3):
        flow = workflow()
        step = flow.job("only", JOB_TYPE, n)
        if n != 1:
            flow.result_step(step)
        run_ids.append(queue.start(flow))

    claimed = {job.workflow_run_id: job for job in queue.claim()}
    queue.run(
        jobs.complete_jobs(
            WORKER,
            [jobs.JobSuccess(lease=claimed[run_id].lease, output_json=str(n)) for n, run_id in enumerate(run_ids)],
        )
    )

    assert [(queue.workflow_run(run_id).has_result, queue.workflow_run(run_id).result) for run_id in run_ids] == [
        (True, 0),
        (False, None),
        (True, 2),
    ]


def test_times_of_a_run_are_told_by_the_database(queue: WorkflowQueue) -> None:
    before = queue.clock()
    run = queue.workflow_run(start(queue))

    assert before - timedelta(seconds=1) <= run.created_at <= queue.clock()
    assert run.created_at == run.started_at == run.updated_at


NO_ID: Any = "018fa1f8-0000-7000-8000-000000000123"


@pytest.mark.parametrize(
    ("field", "read"),
    [
        ("run_id", workflows.get_workflow_run_by_id(NO_ID, scope=Admin())),
        ("run_id", workflows.list_workflow_steps(NO_ID, scope=Admin())),
        ("run_id", workflows.list_workflow_step_dependencies(NO_ID, scope=Admin())),
        ("after_step_id", workflows.list_workflow_steps(UUID(int=1), scope=Admin(), after_step_id=NO_ID)),
        ("before_run_id", workflows.list_workflow_runs(scope=Admin(), before_run_id=NO_ID)),
    ],
)
def test_an_id_that_is_no_uuid_is_refused_by_its_name(
    queue: WorkflowQueue, field: str, read: Operation[object]
) -> None:
    """Also a text that looks like one, as by whatever changes a run."""
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        queue.run(read)
