"""What the ledger must say of runs: worked out anew from edges and outcomes, however a run came to where it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from runledger.core import (
    EnqueueRequest,
    JobStatus,
    JsonValue,
    LeaseIdentity,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepEnqueue,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.core.workflows.run_outcome import StepCounts, run_status_of
from runledger.core.workflows.step_release import DEPENDENCY_UNSATISFIED, next_status, satisfies
from tests.model.job_model import JobModel, ModelJob

_STEP_OF_JOB = {
    JobStatus.PENDING: WorkflowStepStatus.ENQUEUED,
    JobStatus.LEASED: WorkflowStepStatus.RUNNING,
    JobStatus.SUCCEEDED: WorkflowStepStatus.SUCCEEDED,
    JobStatus.DEAD_LETTERED: WorkflowStepStatus.FAILED,
    JobStatus.CANCELED: WorkflowStepStatus.CANCELED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """How the application ended a gate, or a cancel of the run any step."""

    status: WorkflowStepStatus
    reason: str | None = None
    error_code: str | None = None
    output: JsonValue = None


RUN_CANCELED = StepOutcome(status=WorkflowStepStatus.CANCELED, reason="RUN_CANCELED", error_code="run.canceled")
"""How a cancel of its run ends a step in the walk."""


@dataclass(slots=True, kw_only=True)
class ModelStep:
    """A row of ``workflow_steps`` with its edges.

    Attributes:
        request: What was asked for.
        payload: What its job gets.
        job: Its job, once it is released.
        outcome: How it ended without a job.
        status: What follows, as of the last `WorkflowModel.settle`; ``None`` before the first one. So are the rest.
        pending: Prerequisites that have not ended.
        unsatisfied: Edges whose prerequisite has ended in a way that will not do.
        released_at: When it was released.
        finished_at: When it ended.
    """

    request: WorkflowStepEnqueue
    payload: JsonValue
    job: ModelJob | None = None
    outcome: StepOutcome | None = None
    status: WorkflowStepStatus | None = None
    pending: int = 0
    unsatisfied: int = 0
    released_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_gate(self) -> bool:
        return self.request.execution_kind is WorkflowStepExecutionKind.EXTERNAL

    @property
    def is_waiting(self) -> bool:
        return self.status is WorkflowStepStatus.WAITING_FOR_EXTERNAL

    @property
    def reason_and_code(self) -> tuple[str | None, str | None]:
        """Why it is where it is, and the error code that goes with it."""
        if self.outcome is not None:
            return self.outcome.reason, self.outcome.error_code
        job = self.job
        if job is None:
            is_unsatisfied = self.status is WorkflowStepStatus.CANCELED
            return (DEPENDENCY_UNSATISFIED, DEPENDENCY_UNSATISFIED) if is_unsatisfied else (None, None)
        match job.status:
            case JobStatus.SUCCEEDED:
                return "SUCCEEDED", None
            case JobStatus.DEAD_LETTERED | JobStatus.CANCELED:
                return job.status_reason, job.last_error_code
            case _:
                failed = [attempt for attempt in job.attempts.values() if attempt.outcome is not None]
                last = failed[-1] if failed else None
                return (None, None) if last is None or last.outcome is None else (last.outcome.value, last.error_code)


@dataclass(slots=True, kw_only=True)
class ModelRun:
    """A row of ``workflow_runs`` with its steps and appends.

    Attributes:
        request: What was asked for.
        steps: By key.
        appends: The steps of each append and its window, by mutation key.
        is_canceled: Whether it was canceled as a whole.
        finished_at: When it ended, as of the last settle.
    """

    request: WorkflowRunEnqueue
    steps: dict[str, ModelStep] = field(default_factory=dict[str, ModelStep])
    appends: dict[str, tuple[str, Sequence[WorkflowStepEnqueue]]] = field(
        default_factory=dict[str, tuple[str, Sequence[WorkflowStepEnqueue]]]
    )
    is_canceled: bool = False
    finished_at: datetime | None = None

    def add(self, steps: Iterable[WorkflowStepEnqueue]) -> None:
        for step in steps:
            assert step.step_key not in self.steps
            payload = step.payload
            assert isinstance(payload, int)
            self.steps[step.step_key] = ModelStep(request=step, payload=payload)

    @property
    def counts(self) -> StepCounts:
        return StepCounts.of(step.status for step in self.steps.values() if step.status is not None)

    @property
    def status(self) -> WorkflowRunStatus:
        return WorkflowRunStatus.CANCELED if self.is_canceled else run_status_of(self.counts)

    def result(self, outputs: Mapping[UUID, JsonValue]) -> tuple[bool, JsonValue]:
        """Return whether there is a result, and what it is; ``outputs`` are those of jobs."""
        key = self.request.result_step_key
        step = None if key is None else self.steps[key]
        if step is None or step.status is not WorkflowStepStatus.SUCCEEDED:
            return False, None
        return True, output_of(step, outputs)


def output_of(step: ModelStep, outputs: Mapping[UUID, JsonValue]) -> JsonValue:
    """Return the output of a step, with those of jobs at hand."""
    if step.outcome is not None:
        return step.outcome.output
    return None if step.job is None else outputs.get(step.job.job_id)


class WorkflowModel:
    """Runs in memory, over a queue in memory that knows nothing of them.

    Attributes:
        queue: The jobs, those of steps among others.
        runs: The runs.
        keys: Which run has an idempotency key.
        outputs: What jobs have returned.
    """

    def __init__(self, queue: JobModel) -> None:
        self.queue = queue
        self.runs: dict[UUID, ModelRun] = {}
        self.keys: dict[str, UUID] = {}
        self.outputs: dict[UUID, JsonValue] = {}

    def enqueue(self, run_id: UUID, request: WorkflowRunEnqueue) -> None:
        run = ModelRun(request=request)
        run.add(request.steps)
        self.runs[run_id] = run
        if request.idempotency_key is not None:
            self.keys[request.idempotency_key] = run_id

    def step_of(self, job_id: UUID) -> tuple[UUID, str] | None:
        """Return the run and the step that a job belongs to."""
        for run_id, run in self.runs.items():
            for key, step in run.steps.items():
                if step.job is not None and step.job.job_id == job_id:
                    return run_id, key
        return None

    def complete_gate(self, run_id: UUID, key: str, outcome: StepOutcome) -> str | None:
        """End a gate, or return the code of the refusal."""
        step = self.runs[run_id].steps[key]
        if not step.is_gate:
            return "workflow.external_step_not_external"
        if step.is_waiting:
            step.outcome = outcome
        elif step.status is WorkflowStepStatus.BLOCKED:
            return "workflow.external_step_not_waiting"
        elif step.status is not outcome.status:
            return "workflow.external_step_conflicting_completion_retry"
        return None

    def append(
        self, run_id: UUID, mutation_key: str, window: str, steps: Sequence[WorkflowStepEnqueue]
    ) -> tuple[str, str | None]:
        """Append through a gate; return the outcome, or ``REFUSED`` and the code."""
        run = self.runs[run_id]
        repeated = self._repeated(run, mutation_key, window, steps)
        if repeated is not None:
            return repeated
        if not run.steps[window].is_gate:
            return "REFUSED", "workflow.append_window_not_external"
        if not run.steps[window].is_waiting:
            return "REFUSED", "workflow.append_window_not_open"
        return self._append(run, mutation_key, window, steps)

    def append_of_job(
        self,
        run_id: UUID,
        mutation_key: str,
        window: str,
        steps: Sequence[WorkflowStepEnqueue],
        lease: LeaseIdentity,
        *,
        now: datetime,
    ) -> tuple[str, str | None]:
        """Append through the step whose job the lease is about; return as `append`."""
        run = self.runs[run_id]
        if not self.queue.held([lease], now):
            return "REFUSED", "job.lease_owner_mismatch"
        repeated = self._repeated(run, mutation_key, window, steps)
        if repeated is not None:
            return repeated
        job = run.steps[window].job
        if job is None or job.job_id != lease.job_id:
            return "REFUSED", "workflow.append_window_missing"
        return self._append(run, mutation_key, window, steps)

    def _repeated(
        self, run: ModelRun, mutation_key: str, window: str, steps: Sequence[WorkflowStepEnqueue]
    ) -> tuple[str, str | None] | None:
        known = run.appends.get(mutation_key)
        if known is None:
            return None
        return (
            ("ALREADY_APPLIED", None) if known == (window, steps) else ("REFUSED", "workflow.append_conflicting_retry")
        )

    def _append(
        self, run: ModelRun, mutation_key: str, window: str, steps: Sequence[WorkflowStepEnqueue]
    ) -> tuple[str, str | None]:
        assert not run.status.is_terminal, "a step is open, and the run has ended"
        run.appends[mutation_key] = (window, steps)
        run.add(steps)
        return "APPENDED", None

    def edit_payload(self, run_id: UUID, key: str, payload: JsonValue) -> bool:
        step = self.runs[run_id].steps[key]
        if step.status not in {
            WorkflowStepStatus.BLOCKED,
            WorkflowStepStatus.WAITING_FOR_EXTERNAL,
            WorkflowStepStatus.ENQUEUED,
        }:
            return False
        step.payload = payload
        return True

    def cancel_run(self, run_id: UUID, *, now: datetime) -> None:
        run = self.runs[run_id]
        if run.status.is_terminal:
            return
        run.is_canceled = True
        for step in run.steps.values():
            assert step.status is not None
            if step.status.is_terminal:
                continue
            # The code goes to the step alone; the job keeps that of its last failure.
            step.outcome = RUN_CANCELED
            if step.job is not None:
                assert self.queue.cancel(step.job.job_id, now=now)
                step.job.status_reason = RUN_CANCELED.reason

    def settle(self, *, now: datetime) -> list[tuple[UUID, str]]:
        """Work out anew where every step is, and return those that must have a job by now: `adopt` it."""
        released: list[tuple[UUID, str]] = []
        for run_id, run in self.runs.items():
            judged: dict[str, WorkflowStepStatus] = {}
            for key, step in run.steps.items():
                before = step.status
                status = self._judge(run, key, judged)
                assert before is None or not before.is_terminal or status is before
                step.status = status
                if status not in {WorkflowStepStatus.BLOCKED, WorkflowStepStatus.CANCELED}:
                    step.released_at = step.released_at or now
                if status.is_terminal:
                    step.finished_at = step.finished_at or now
                if status is WorkflowStepStatus.ENQUEUED and step.job is None:
                    released.append((run_id, key))
            if run.status.is_terminal:
                run.finished_at = run.finished_at or now
        return released

    def adopt(self, run_id: UUID, key: str, job_id: UUID, *, now: datetime) -> None:
        """Give a released step the job that the ledger has made for it."""
        step = self.runs[run_id].steps[key]
        request = step.request
        assert step.job is None
        assert request.job_type is not None
        definition = self.queue.definitions[request.job_type]
        job = ModelJob(
            job_id=job_id,
            request=EnqueueRequest(request.job_type, step.payload, stage=request.effective_stage or ""),
            snapshot=None,
            priority=definition.default_priority if request.priority is None else request.priority,
            max_attempts=definition.max_attempts if request.max_attempts is None else request.max_attempts,
            timeout=definition.default_timeout,
            next_run_at=now,
            stage=request.effective_stage or "",
        )
        job.note("ENQUEUED")
        self.queue.jobs[job_id] = job
        step.job = job

    def _judge(self, run: ModelRun, key: str, judged: dict[str, WorkflowStepStatus]) -> WorkflowStepStatus:
        """Say where a step is, from how those before it have ended; its counters are a by-product."""
        if key in judged:
            return judged[key]
        step = run.steps[key]
        step.pending = step.unsatisfied = 0
        for dependency in step.request.dependencies:
            before = self._judge(run, dependency.prerequisite_step_key, judged)
            if not before.is_terminal:
                step.pending += 1
            elif not satisfies(before, dependency.effective_release_mode):
                step.unsatisfied += 1
        if step.outcome is not None:
            status = step.outcome.status
        elif step.job is not None:
            status = _STEP_OF_JOB[step.job.status]
        else:
            status = next_status(step.request.execution_kind, pending=step.pending, unsatisfied=step.unsatisfied)
        judged[key] = status
        return status


def is_stuck(run: ModelRun) -> bool:
    """Whether a run is open, and no worker, no reaper and no end of a gate could move it."""
    movable = {WorkflowStepStatus.ENQUEUED, WorkflowStepStatus.RUNNING, WorkflowStepStatus.WAITING_FOR_EXTERNAL}
    return not run.status.is_terminal and not any(step.status in movable for step in run.steps.values())
