"""Append through the step whose job the caller holds."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    WorkflowAppendOutcome,
    WorkflowAppendResult,
    WorkflowRunStatus,
)
from runledger.postgres import QueryError, jobs, workflows
from runledger.postgres.workflows import WorkflowAppendRequest
from tests.core.workflows.dags import job, waits
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WorkflowQueue, failure_of, refused, workflow
from tests.races.session import Session

REQUEST = WorkflowAppendRequest(
    mutation_key="found",
    window_step_key="discover",
    steps=[
        job("build", job_type=JOB_TYPE, dependencies=waits("discover")),
        job("check", job_type=JOB_TYPE),
    ],
)


def discovering(queue: WorkflowQueue) -> ClaimedJob:
    """Return the claimed job of a run with one step."""
    flow = workflow()
    flow.job("discover", JOB_TYPE)
    queue.start(flow)
    return queue.claim_one()


def run_of(claimed: ClaimedJob) -> UUID:
    assert claimed.workflow_run_id is not None
    return claimed.workflow_run_id


def append(queue: WorkflowQueue, claimed: ClaimedJob, asked: WorkflowAppendRequest = REQUEST) -> WorkflowAppendResult:
    return queue.run(workflows.append_workflow_steps_of_job(run_of(claimed), asked, claimed.lease))


def test_a_job_appends_to_its_run_and_releases_what_waits_for_it_with_its_end(queue: WorkflowQueue) -> None:
    claimed = discovering(queue)

    result = append(queue, claimed)

    assert result.outcome is WorkflowAppendOutcome.APPENDED
    assert queue.statuses(run_of(claimed)) == {"discover": "RUNNING", "build": "BLOCKED", "check": "ENQUEUED"}
    queue.succeed(claimed)
    assert queue.statuses(run_of(claimed)) == {"discover": "SUCCEEDED", "build": "ENQUEUED", "check": "ENQUEUED"}
    queue.succeed_all(queue.claim())
    assert queue.workflow_run(run_of(claimed)).status is WorkflowRunStatus.SUCCEEDED


def test_the_next_attempt_repeats_it_and_appends_nothing_again(queue: WorkflowQueue) -> None:
    claimed = discovering(queue)
    append(queue, claimed)
    queue.run(jobs.fail_job(failure_of(claimed)))
    again = queue.claim_steps()["discover"]

    assert append(queue, again).outcome is WorkflowAppendOutcome.ALREADY_APPLIED
    with pytest.raises(QueryError, check=lambda error: error.code == "workflow.append_conflicting_retry"):
        append(queue, again, replace(REQUEST, steps=REQUEST.steps[:1]))


def test_who_has_lost_the_lease_appends_nothing(queue: WorkflowQueue, first: Session) -> None:
    """Not even what was appended already is told."""
    claimed = discovering(queue)
    append(queue, claimed)
    queue.run(jobs.fail_job(failure_of(claimed)))
    before = queue.contents()

    for asked in (REQUEST, replace(REQUEST, mutation_key="other")):
        with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
            first.run(workflows.append_workflow_steps_of_job(run_of(claimed), asked, claimed.lease))
    first.commit()

    assert queue.contents() == before


def test_an_expired_lease_appends_nothing(queue: WorkflowQueue) -> None:
    claimed = discovering(queue)

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        queue.run(
            workflows.append_workflow_steps_of_job(
                run_of(claimed), REQUEST, claimed.lease, now=claimed.lease_expires_at
            )
        )


def test_the_step_of_another_job_is_no_window(queue: WorkflowQueue) -> None:
    flow = workflow()
    flow.job("discover", JOB_TYPE)
    flow.job("other", JOB_TYPE)
    flow.gate("gate")
    run_id = queue.start(flow)
    claimed = queue.claim_steps()["other"]

    for window in ("discover", "gate", "nothing"):
        with refused("workflow.append_window_missing"):
            append(queue, claimed, replace(REQUEST, window_step_key=window))

    assert len(queue.steps(run_id)) == 3


def test_the_run_of_another_job_is_no_run_to_append_to(queue: WorkflowQueue) -> None:
    claimed, other = discovering(queue), discovering(queue)

    with refused("workflow.append_window_missing"):
        queue.run(workflows.append_workflow_steps_of_job(run_of(other), REQUEST, claimed.lease))
    with refused("workflow.run_not_found"):
        queue.run(workflows.append_workflow_steps_of_job(uuid4(), REQUEST, claimed.lease))


def test_the_job_of_a_canceled_run_appends_nothing(queue: WorkflowQueue) -> None:
    claimed = discovering(queue)
    queue.cancel_run(run_of(claimed))

    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        append(queue, claimed)


def test_it_commits_with_the_transaction_of_the_handler(queue: WorkflowQueue, first: Session) -> None:
    claimed = discovering(queue)
    asked = workflows.append_workflow_steps_of_job(run_of(claimed), REQUEST, claimed.lease)
    before = queue.contents()

    first.run(asked)
    first.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))
    assert queue.contents() == before
    first.commit()

    assert queue.statuses(run_of(claimed)) == {"discover": "SUCCEEDED", "build": "ENQUEUED", "check": "ENQUEUED"}
    assert queue.run(workflows.get_workflow_run_by_id(run_of(claimed), scope=Admin())) is not None


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_above_read_committed_nothing_is_appended(queue: WorkflowQueue, first: Session, level: str) -> None:
    """WFA-016."""
    claimed = discovering(queue)
    before = queue.contents()
    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    with refused("workflow.append_unsupported_isolation"):
        first.run(workflows.append_workflow_steps_of_job(run_of(claimed), REQUEST, claimed.lease))
    first.commit()

    assert queue.contents() == before
