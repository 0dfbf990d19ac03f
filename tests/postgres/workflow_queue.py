"""A queue with the shortest way from a test to a run of a workflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    JobFailureKind,
    JobRecord,
    Workflow,
    WorkflowDagBuilder,
    WorkflowRunEnqueue,
    WorkflowRunRecord,
    WorkflowStepRecord,
    WorkflowStepStatus,
)
from runledger.postgres import QueryError, QueryErrorCategory, jobs, workflows
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue

WORKFLOW_TYPE = "order.fulfil"

SUCCEEDED, FAILED, CANCELED = WorkflowStepStatus.SUCCEEDED, WorkflowStepStatus.FAILED, WorkflowStepStatus.CANCELED
"""How a gate may be completed."""

_TABLES = (
    "workflow_runs",
    "workflow_steps",
    "workflow_step_dependencies",
    "workflow_run_mutations",
    "job_queue",
    "job_attempts",
    "job_events",
    "job_dead_letters",
)


def workflow(idempotency_key: str | None = None, organization_id: UUID | None = None) -> Workflow:
    """Return an empty workflow to write steps into."""
    return Workflow(WORKFLOW_TYPE, idempotency_key=idempotency_key, organization_id=organization_id)


def diamond(*, on_terminal: Iterable[tuple[str, str]] = ()) -> WorkflowRunEnqueue:
    """Return a → b, a → c, (b, c) → d; edges ON_SUCCESS but for those named, as (dependent, prerequisite)."""
    edges = {"b": ["a"], "c": ["a"], "d": ["b", "c"]}
    builder = WorkflowDagBuilder(WORKFLOW_TYPE)
    for key in "abcd":
        builder.job(key, JOB_TYPE, {"step": key})
    for dependent, prerequisites in edges.items():
        for prerequisite in prerequisites:
            if (dependent, prerequisite) in set(on_terminal):
                builder.after_terminal(dependent, [prerequisite])
            else:
                builder.after_success(dependent, [prerequisite])
    return builder.build()


class WorkflowQueue(JobQueue):
    """Enqueues runs, and moves their steps by key."""

    def start(self, request: WorkflowRunEnqueue | Workflow) -> UUID:
        """Enqueue a run and return its id."""
        if isinstance(request, Workflow):
            request = request.build()
        return self.run(workflows.enqueue_workflow_run(request)).id

    def workflow_run(self, run_id: UUID) -> WorkflowRunRecord:
        record = self.run(workflows.get_workflow_run_by_id(run_id, scope=Admin()))
        assert record is not None
        return record

    def steps(self, run_id: UUID) -> dict[str, WorkflowStepRecord]:
        """Return the steps of a run by key."""
        return {step.step_key: step for step in self.run(workflows.list_workflow_steps(run_id, scope=Admin()))}

    def statuses(self, run_id: UUID) -> dict[str, str]:
        """Return the status of each step."""
        return {key: step.status.value for key, step in self.steps(run_id).items()}

    def counters(self, run_id: UUID) -> dict[str, tuple[int, int]]:
        """Return how many dependencies of each step are pending and unsatisfied."""
        return {
            key: (step.dependency_count_pending, step.dependency_count_unsatisfied)
            for key, step in self.steps(run_id).items()
        }

    def claim_steps(self) -> dict[str, ClaimedJob]:
        """Claim all that is due, and return it by step."""
        return {claimed.workflow_step_key or "": claimed for claimed in self.claim()}

    def job_of(self, run_id: UUID, step_key: str) -> JobRecord:
        """Return the job of a step, which must have one."""
        job_id = self.steps(run_id)[step_key].job_id
        assert job_id is not None
        return self.job(job_id)

    def edges(self, run_id: UUID) -> set[tuple[str, str, str]]:
        """Return what waits for what, as (dependent, prerequisite, mode)."""
        return {
            (edge.dependent_step_key, edge.prerequisite_step_key, edge.release_mode.value)
            for edge in self.run(workflows.list_workflow_step_dependencies(run_id, scope=Admin()))
        }

    def contents(self) -> dict[str, tuple[int, str | None]]:
        """Return how many rows each table has, and a digest of them: what is equal afterwards was not changed."""
        return {
            table: self.sql(f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t")[0]
            for table in _TABLES
        }

    def complete(self, run_id: UUID, step_key: str, status: WorkflowStepStatus = SUCCEEDED, **fields: Any) -> None:
        """Complete a gate."""
        self.run(workflows.complete_external_workflow_step(run_id, step_key, scope=Admin(), status=status, **fields))

    def cancel_run(self, run_id: UUID, **fields: Any) -> WorkflowRunRecord:
        return self.run(workflows.cancel_workflow_run(run_id, scope=Admin(), **fields))

    def succeed(self, claimed: ClaimedJob, output_json: str | None = None) -> None:
        self.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease, output_json=output_json)))

    def dead_letter_now(self, claimed: ClaimedJob) -> None:
        self.run(jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)))

    def succeed_all(self, claimed: Iterable[ClaimedJob]) -> set[UUID]:
        """Complete jobs in one batch."""
        successes = [jobs.JobSuccess(lease=job.lease) for job in claimed]
        return self.run(jobs.complete_jobs(WORKER, successes))


def failure_of(claimed: ClaimedJob, kind: JobFailureKind = JobFailureKind.RETRYABLE) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(lease=claimed.lease, kind=kind, error_code="smtp.busy", error_message="try later")


def refused(
    code: str, category: QueryErrorCategory = QueryErrorCategory.VALIDATION, *, says: str = ""
) -> pytest.RaisesExc[QueryError]:
    """Expect that an operation is refused with a code, and a text that has some words in it."""
    return pytest.raises(
        QueryError,
        check=lambda error: (error.code, error.category) == (code, category) and says in error.client_message,
    )
