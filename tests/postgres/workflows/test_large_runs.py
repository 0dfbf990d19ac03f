"""Runs of hundreds and thousands of steps: in as many statements as they need, as one run."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from runledger.core import (
    StepCounts,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode
from runledger.postgres import workflows
from runledger.postgres.document import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from tests.core.workflows.dags import job
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue, workflow

ON_SUCCESS, ON_TERMINAL = WorkflowDependencyReleaseMode.ON_SUCCESS, WorkflowDependencyReleaseMode.ON_TERMINAL


def waiting(key: str, *prerequisites: str, mode: WorkflowDependencyReleaseMode = ON_SUCCESS) -> WorkflowStepEnqueue:
    return job(
        key,
        job_type=JOB_TYPE,
        dependencies=[
            WorkflowStepDependencySpec(prerequisite_step_key=one, release_mode=mode) for one in prerequisites
        ],
    )


def chain(length: int) -> WorkflowRunEnqueue:
    steps = [waiting(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(length)]
    return WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, steps=steps)


@pytest.mark.parametrize("count", [400, MAX_BATCH_ROWS - 1, MAX_BATCH_ROWS, MAX_BATCH_ROWS + 1])
def test_every_field_and_edge_of_a_large_run_is_stored_and_a_retry_changes_nothing(
    queue: WorkflowQueue, count: int
) -> None:
    """WFE-028. One root, and for each other step an edge to the root and one to the step before."""
    steps = [job("s0", job_type=JOB_TYPE)]
    for n in range(1, count):
        mode = ON_SUCCESS if n % 2 else ON_TERMINAL
        specs = [
            WorkflowStepDependencySpec(prerequisite_step_key=key, release_mode=mode) for key in {"s0", f"s{n - 1}"}
        ]
        steps.append(
            WorkflowStepEnqueue(
                step_key=f"s{n}",
                job_type=JOB_TYPE,
                payload={"n": n},
                priority=n % 7 - 3,
                max_attempts=n % 5 + 1,
                timeout=timedelta(seconds=n % 60 + 1),
                stage=f"stage-{n % 3}",
                dependencies=specs,
            )
        )
    request = WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, idempotency_key="large", steps=steps)

    run_id = queue.start(request)

    stored = queue.steps(run_id)
    assert list(stored) == [step.step_key for step in steps]
    for n, step in enumerate(steps[1:], start=1):
        row = stored[step.step_key]
        assert (row.payload, row.priority, row.max_attempts) == ({"n": n}, n % 7 - 3, n % 5 + 1)
        assert (row.timeout_seconds, row.stage, row.status.value) == (n % 60 + 1, f"stage-{n % 3}", "BLOCKED")
        assert row.dependency_count_total == row.dependency_count_pending == len(step.dependencies)
    assert queue.edges(run_id) == {
        (step.step_key, spec.prerequisite_step_key, spec.effective_release_mode.value)
        for step in steps
        for spec in step.dependencies
    }
    assert queue.event_types(queue.job_of(run_id, "s0").id) == ["ENQUEUED"]
    assert queue.sql("SELECT count(*) FROM job_queue") == queue.sql("SELECT count(*) FROM job_events") == [(1,)]
    before = queue.contents()
    assert queue.start(request) == run_id
    assert queue.contents() == before


@pytest.mark.parametrize("key", [None, "large"])
def test_more_roots_than_a_statement_takes_have_their_jobs(queue: WorkflowQueue, key: str | None) -> None:
    """WFE-007, WFE-028."""
    flow = workflow(key)
    flow.job("join", JOB_TYPE, after=[flow.job(f"s{n}", JOB_TYPE) for n in range(2 * MAX_BATCH_ROWS + 1)])
    count = 2 * MAX_BATCH_ROWS + 1

    run_id = queue.start(flow)

    assert queue.sql("SELECT count(*) FROM job_queue") == queue.sql("SELECT count(*) FROM job_events") == [(count,)]
    run = queue.workflow_run(run_id)
    assert run.step_counts == StepCounts(total=count + 1, active=count + 1, waiting=0, unsuccessful=0)
    assert queue.counters(run_id)["join"] == (count, 0)


def test_payloads_that_do_not_fit_one_document_are_stored_all_the_same(queue: WorkflowQueue) -> None:
    text = "x" * (MAX_BATCH_BYTES // 3)
    flow = workflow()
    flow.job("last", JOB_TYPE, after=[flow.job(f"s{n}", JOB_TYPE, text) for n in range(5)])

    run_id = queue.start(flow)

    assert queue.sql("SELECT sum(length(payload ->> 0)) FROM job_queue") == [(5 * len(text),)]
    assert len(queue.edges(run_id)) == 5


def test_a_fan_out_of_a_thousand_steps_is_released_by_one_end_and_joined_by_the_last(queue: WorkflowQueue) -> None:
    """WFP-001, WFP-002."""
    flow = workflow()
    root = flow.job("root", JOB_TYPE)
    flow.job("join", JOB_TYPE, after=[flow.job(f"s{n}", JOB_TYPE, after=root) for n in range(1_000)])
    run_id = queue.start(flow)

    queue.succeed(queue.claim_one())
    claimed = queue.claim(limit=1_000)
    assert len(claimed) == 1_000
    for start in range(0, 1_000, 250):
        assert len(queue.succeed_all(claimed[start : start + 250])) == 250
    queue.succeed(queue.claim_steps()["join"])

    run = queue.workflow_run(run_id)
    assert (run.status, run.step_counts.total) == (WorkflowRunStatus.SUCCEEDED, 1_002)


def test_a_cascade_down_a_long_chain_ends_the_run(queue: WorkflowQueue) -> None:
    """WFP-006. One statement a level."""
    run_id = queue.start(chain(500))

    queue.dead_letter_now(queue.claim_one())

    run = queue.workflow_run(run_id)
    assert run.status is WorkflowRunStatus.COMPLETED_WITH_ERRORS
    assert run.step_counts == StepCounts(total=500, active=0, waiting=0, unsuccessful=500)


def test_a_large_run_is_canceled_at_once(queue: WorkflowQueue) -> None:
    """WFC-001, WFC-003."""
    flow = workflow()
    flow.job("join", JOB_TYPE, after_terminal=[flow.job(f"s{n}", JOB_TYPE) for n in range(1_500)])
    run_id = queue.start(flow)
    queue.claim(limit=700)

    run = queue.cancel_run(run_id)

    assert run.step_counts == StepCounts(total=1_501, active=0, waiting=0, unsuccessful=1_501)
    assert queue.sql("SELECT DISTINCT status::text FROM job_queue") == [("CANCELED",)]
    assert queue.sql("SELECT count(*) FROM job_attempts WHERE finished_at IS NULL") == [(0,)]
    assert queue.sql("SELECT count(*) FROM job_events WHERE event_type = 'CANCELED'") == [(1_500,)]


def test_a_chain_of_ten_thousand_steps_is_enqueued_in_reasonable_time(queue: WorkflowQueue) -> None:
    """Twenty statements. It takes about a second here; the bound is for a busy machine."""
    request = chain(10_000)
    started = time.monotonic()

    run = queue.run(workflows.enqueue_workflow_run(request))

    assert time.monotonic() - started < 20
    assert run.step_counts.total == 10_000
    assert queue.sql("SELECT count(*) FROM workflow_step_dependencies") == [(9_999,)]
    queue.succeed(queue.claim_one())
    assert [claimed.workflow_step_key for claimed in queue.claim()] == ["s1"]
