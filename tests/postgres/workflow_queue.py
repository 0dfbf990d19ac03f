"""A queue with the shortest way from a test to a run of a workflow."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from runledger.core import (
    Admin,
    ClaimedJob,
    JobFailureKind,
    Workflow,
    WorkflowDagBuilder,
    WorkflowRunEnqueue,
    WorkflowRunRecord,
    WorkflowStepRecord,
)
from runledger.postgres import jobs, workflows
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue

WORKFLOW_TYPE = "order.fulfil"


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
