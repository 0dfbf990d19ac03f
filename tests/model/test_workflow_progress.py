"""Random walks over graphs: after every operation the ledger says of runs what follows from edges and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runledger.core import (
    Admin,
    EnqueueRequest,
    JobClaimOrigin,
    JobDefinition,
    JobFailureKind,
    JobStatus,
    LeaseIdentity,
    WorkflowDependencyReleaseMode,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.postgres import Operation, QueryError, jobs, workflows
from runledger.testing import EphemeralDatabase
from tests.model.job_model import JobModel, ModelFailure
from tests.model.workflow_model import (
    RUN_CANCELED,
    ModelRun,
    ModelStep,
    StepOutcome,
    WorkflowModel,
    is_stuck,
    output_of,
)
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue

T = TypeVar("T")

WORKERS = ("worker-1", "worker-2")
JOB_TYPES = ("email.send", "report.make")
START = datetime(2030, 1, 1, tzinfo=UTC)
LEASE_TTL = timedelta(seconds=30)
LONG = timedelta(days=1)

_MAX_RUNS = 5
_MAX_STEPS_OF_RUN = 12
_TABLES = ("workflow_runs", "job_events", "job_attempts", "job_dead_letters", "job_queue")

workers = st.sampled_from(WORKERS)
delays = st.sampled_from([timedelta(), timedelta(seconds=10)])
outputs = st.sampled_from([None, 0, 1])
kinds = st.sampled_from(list(JobFailureKind))
modes = st.sampled_from([None, *WorkflowDependencyReleaseMode, WorkflowDependencyReleaseMode.ON_SUCCESS])
ends = st.sampled_from(
    [
        *[StepOutcome(status=WorkflowStepStatus.SUCCEEDED, output=output) for output in (None, 1)],
        StepOutcome(status=WorkflowStepStatus.FAILED, reason="REFUSED", error_code="order.refused"),
        StepOutcome(status=WorkflowStepStatus.CANCELED, reason="WITHDRAWN"),
    ]
)


@st.composite
def steps_after(draw: st.DrawFn, existing: Sequence[str], names: Sequence[str]) -> tuple[WorkflowStepEnqueue, ...]:
    """Draw steps with these names; each may wait for any before it and for existing ones. They come in any order."""
    steps: list[WorkflowStepEnqueue] = []
    for position, name in enumerate(names):
        before = [*existing, *names[:position]]
        waits_for = draw(st.lists(st.sampled_from(before), max_size=3, unique=True)) if before else []
        dependencies = [
            WorkflowStepDependencySpec(prerequisite_step_key=key, release_mode=draw(modes)) for key in waits_for
        ]
        step = WorkflowStepEnqueue(step_key=name, payload=0, dependencies=dependencies)
        if draw(st.integers(0, 3)):
            steps.append(
                replace(
                    step,
                    job_type=draw(st.sampled_from(JOB_TYPES)),
                    priority=draw(st.sampled_from([None, 200])),
                    max_attempts=draw(st.sampled_from([None, 1])),
                )
            )
        else:
            steps.append(replace(step, execution_kind=WorkflowStepExecutionKind.EXTERNAL))
    return tuple(draw(st.permutations(steps)))


@st.composite
def runs(draw: st.DrawFn) -> WorkflowRunEnqueue:
    steps = draw(steps_after((), [f"s{number}" for number in range(draw(st.integers(1, 7)))]))
    return WorkflowRunEnqueue(
        workflow_type=WORKFLOW_TYPE,
        idempotency_key=draw(st.sampled_from([None, "a", "b"])),
        result_step_key=draw(st.sampled_from([None, *(step.step_key for step in steps)])),
        steps=steps,
    )


class WorkflowProgress(RuleBasedStateMachine):
    """Runs and plain jobs, moved in any order by everyone who may move them, under a clock that the test moves."""

    def __init__(self, queue: WorkflowQueue) -> None:
        super().__init__()
        self._queue = queue
        self._model = WorkflowModel(JobModel())
        self._leases: list[LeaseIdentity] = []
        self._appended = 0
        self._now = START

    @initialize(requests=st.lists(runs(), min_size=2, max_size=2))
    def begin(self, requests: list[WorkflowRunEnqueue]) -> None:
        self._queue.sql(";".join(f"DELETE FROM {table}" for table in _TABLES))
        for job_type in JOB_TYPES:
            definition = JobDefinition(job_type=job_type, max_attempts=2, default_timeout=timedelta(seconds=30))
            self._queue.run(jobs.upsert_job_definitions([definition]))
            self._model.queue.define(definition)
        for request in requests:
            self.enqueue_run(request)

    def teardown(self) -> None:
        """Whatever happened, each run can be brought to its end, and ends with its last step."""
        for _ in range(2 * _MAX_STEPS_OF_RUN):
            self._now += LONG
            self._reap(timedelta())
            self._claim(WORKERS[0], 100, is_start=True)
            held = [lease for lease in dict.fromkeys(self._leases) if self._model.queue.held([lease], self._now)]
            self._complete(held, {})
            for run_id, run in self._model.runs.items():
                for key in [key for key, step in run.steps.items() if step.is_waiting]:
                    self._complete_gate(run_id, key, StepOutcome(status=WorkflowStepStatus.SUCCEEDED))
            if all(run.status.is_terminal for run in self._model.runs.values()):
                break
        self.runs_agree()
        self.steps_agree()
        assert all(run.status.is_terminal for run in self._model.runs.values())
        open_count = "SELECT count(*) FROM job_queue WHERE status IN ('PENDING', 'LEASED')"
        assert self._queue.sql(open_count) == [(0,)]

    @rule(span=st.sampled_from([timedelta(seconds=10), timedelta(seconds=10, microseconds=1)]))
    def time_passes(self, span: timedelta) -> None:
        self._now += span

    @precondition(lambda self: len(self._model.runs) < _MAX_RUNS)
    @rule(request=runs())
    def enqueue_run(self, request: WorkflowRunEnqueue) -> None:
        known = self._model.keys.get(request.idempotency_key or "")
        run, refused = self._attempt(workflows.enqueue_workflow_run(request, now=self._now))
        if known is None:
            assert run is not None
            self._model.enqueue(run.id, request)
            self._settle()
            assert run.status is self._model.runs[run.id].status
        elif self._model.runs[known].request == request:
            assert run is not None
            assert run.id == known
        else:
            assert refused == "workflow.enqueue_conflicting_retry"

    @precondition(lambda self: self._model.keys)
    @rule(data=st.data())
    def enqueue_again(self, data: st.DataObject) -> None:
        """The request as it was made finds its run, whatever has become of it."""
        run_id = data.draw(st.sampled_from(list(self._model.keys.values())))
        self.enqueue_run(self._model.runs[run_id].request)

    @rule(count=st.integers(1, 2), job_type=st.sampled_from(JOB_TYPES))
    @precondition(lambda self: len(self._model.queue.jobs) < 30)
    def enqueue_plain(self, count: int, job_type: str) -> None:
        requests = [EnqueueRequest(job_type, number) for number in range(count)]
        ids = self._queue.run(jobs.enqueue_jobs(requests, now=self._now))
        self._model.queue.enqueue(requests, ids, now=self._now)

    @precondition(lambda self: self._is_any_due())
    @rule(worker_id=workers, limit=st.integers(1, 4), is_start=st.booleans())
    def claim(self, worker_id: str, limit: int, is_start: bool) -> None:  # noqa: FBT001 (drawn)
        self._claim(worker_id, limit, is_start=is_start)

    @precondition(lambda self: self._is_any_due())
    @rule(worker_id=workers, limit=st.integers(1, 4), kind=st.one_of(st.none(), kinds), output=outputs)
    def run_some(self, worker_id: str, limit: int, kind: JobFailureKind | None, output: int | None) -> None:
        """Claim and end at once, so that many walks come to the ends."""
        known = len(self._leases)
        self._claim(worker_id, limit, is_start=True)
        leases = self._leases[known:]
        if kind is None:
            self._complete(leases, {lease.job_id: output for lease in leases})
        else:
            self._fail(leases, ModelFailure(kind, "smtp.busy", 0))

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), output=outputs)
    def complete(self, data: st.DataObject, output: int | None) -> None:
        leases = self._draw_batch(data)
        self._complete(leases, {lease.job_id: output for lease in leases})

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), output=outputs)
    def complete_one(self, data: st.DataObject, output: int | None) -> None:
        lease = self._draw_lease(data)
        is_held = bool(self._model.queue.complete([lease], now=self._now))
        success = jobs.JobSuccess(lease=lease, output_json=None if output is None else str(output))
        self._run_fenced(jobs.complete_job(success, now=self._now), is_held=is_held)
        if is_held:
            self._model.outputs[lease.job_id] = output
        self._settle()

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), kind=kinds, delay=delays)
    def fail(self, data: st.DataObject, kind: JobFailureKind, delay: timedelta) -> None:
        failure = ModelFailure(kind, "smtp.busy", delay // timedelta(milliseconds=1))
        self._fail(self._draw_batch(data), failure)

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), kind=kinds)
    def fail_one(self, data: st.DataObject, kind: JobFailureKind) -> None:
        lease = self._draw_lease(data)
        failed = self._model.queue.fail([lease], ModelFailure(kind, "smtp.busy", 0), now=self._now)
        failure = jobs.AttemptFailure(lease=lease, kind=kind, error_code="smtp.busy", error_message="")
        is_dead_letter = self._run_fenced(jobs.fail_job(failure, now=self._now), is_held=bool(failed))
        assert is_dead_letter == failed.get(lease.job_id)
        self._settle()

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), delay=delays)
    def return_claims(self, data: st.DataObject, delay: timedelta) -> None:
        leases = self._draw_batch(data)
        worker_id = leases[0].worker_id
        returned = self._queue.run(
            jobs.return_claims(worker_id, leases, reason="WORKER_SHUTDOWN", retry_delay=delay, now=self._now)
        )
        assert returned == self._model.queue.give_back(leases, delay=delay, now=self._now)
        self._settle()

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), delay=delays)
    def release_unstarted_job_claim(self, data: st.DataObject, delay: timedelta) -> None:
        lease = self._draw_lease(data)
        refusal = self._model.queue.release_unstarted(lease, delay=delay, now=self._now)
        self._run_refused(
            jobs.release_unstarted_job_claim(lease, reason="OVERLOADED", retry_delay=delay, now=self._now), refusal
        )
        self._settle()

    @precondition(lambda self: self._model.queue.jobs)
    @rule(data=st.data())
    def cancel_job(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(list(self._model.queue.jobs)))
        is_canceled = self._model.queue.cancel(job_id, now=self._now)
        self._run_refused(
            jobs.cancel_job(job_id, scope=Admin(), now=self._now),
            None if is_canceled else "job.invalid_state_transition",
        )
        self._settle()

    @precondition(lambda self: self._model.queue.jobs)
    @rule(data=st.data())
    def requeue_job_of_workflow(self, data: st.DataObject) -> None:
        """It is refused, whatever its state."""
        job_id = data.draw(st.sampled_from(list(self._model.queue.jobs)))
        if self._model.step_of(job_id) is not None:
            requeue = jobs.requeue_job(job_id, scope=Admin(), now=self._now)
            self._run_refused(requeue, "job.workflow_requeue_not_supported")

    @precondition(lambda self: self._leases)
    @rule(delay=delays, patience=st.sampled_from([timedelta(), LEASE_TTL, LEASE_TTL + timedelta(microseconds=1)]))
    def reap(self, delay: timedelta, patience: timedelta) -> None:
        self._now += patience
        self._reap(delay)

    @precondition(lambda self: self._has_gates())
    @rule(data=st.data(), end=ends)
    def complete_gate(self, data: st.DataObject, end: StepOutcome) -> None:
        run_id, run = self._draw_run(data, lambda step: step.is_waiting)
        waiting = [key for key, step in run.steps.items() if step.is_waiting]
        gates = [key for key, step in run.steps.items() if step.is_gate]
        key = data.draw(st.sampled_from(waiting * 4 + gates * 2 + list(run.steps)))
        self._complete_gate(run_id, key, end)

    @precondition(lambda self: self._has_gates())
    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        run_id, run = self._draw_run(data, lambda step: step.is_waiting)
        waiting = [key for key, step in run.steps.items() if step.is_waiting]
        window = data.draw(st.sampled_from(waiting * 9 + list(run.steps)))
        request = self._draw_append(data, run, window)
        if request is not None:
            expected = self._model.append(run_id, request.mutation_key, request.window_step_key, request.steps)
            operation = workflows.append_workflow_steps(run_id, request, scope=Admin(), now=self._now)
            self._append(operation, run_id, request, expected)

    @precondition(lambda self: self._leases)
    @rule(data=st.data())
    def append_of_job(self, data: st.DataObject) -> None:
        lease = self._draw_lease(data)
        step = self._model.step_of(lease.job_id)
        if step is None:
            return
        run_id, window = step
        run = self._model.runs[run_id]
        if data.draw(st.integers(0, 5)) == 5:
            window = data.draw(st.sampled_from(list(run.steps)))
        request = self._draw_append(data, run, window)
        if request is not None:
            expected = self._model.append_of_job(
                run_id, request.mutation_key, request.window_step_key, request.steps, lease, now=self._now
            )
            operation = workflows.append_workflow_steps_of_job(run_id, request, lease, now=self._now)
            self._append(operation, run_id, request, expected)

    @precondition(lambda self: self._model.runs)
    @rule(data=st.data(), payload=st.integers(1, 2))
    def edit_payload(self, data: st.DataObject, payload: int) -> None:
        run_id, run = self._draw_run(data, lambda step: step.finished_at is None)
        held = [key for key, step in run.steps.items() if step.status is WorkflowStepStatus.RUNNING]
        live = [key for key, step in run.steps.items() if step.finished_at is None]
        key = data.draw(st.sampled_from(held * 4 + live * 4 + list(run.steps)))
        is_in_time = self._queue.run(
            workflows.update_workflow_step_and_pending_job_payload(run_id, key, payload, scope=Admin(), now=self._now)
        )
        assert is_in_time == self._model.edit_payload(run_id, key, payload)

    @precondition(lambda self: self._model.runs)
    @rule(data=st.data(), chance=st.integers(0, 4))
    def cancel_run(self, data: st.DataObject, chance: int) -> None:
        if chance < 4:  # what is canceled teaches nothing more
            return
        run_id, _ = self._draw_run(data, lambda step: step.finished_at is None)
        self._model.cancel_run(run_id, now=self._now)
        self._queue.run(
            workflows.cancel_workflow_run(
                run_id, scope=Admin(), reason=RUN_CANCELED.reason, error_code=RUN_CANCELED.error_code, now=self._now
            )
        )
        self._settle()

    @invariant()
    def runs_agree(self) -> None:
        rows = self._queue.sql(
            """
            SELECT id, status::text, step_count_total, step_count_active, step_count_waiting, step_count_unsuccessful,
                   finished_at, result IS NOT NULL, result
              FROM workflow_runs
            """
        )
        expected: list[tuple[object, ...]] = []
        for run_id, run in self._model.runs.items():
            assert not is_stuck(run)
            counts = run.counts
            has_ended = all(step.status is not None and step.status.is_terminal for step in run.steps.values())
            assert run.status.is_terminal == has_ended
            assert (run.status is WorkflowRunStatus.CANCELED) == run.is_canceled
            expected.append(
                (
                    run_id, run.status.value, counts.total, counts.active, counts.waiting, counts.unsuccessful,
                    run.finished_at, *run.result(self._model.outputs),
                )
            )  # fmt: skip
        assert sorted(rows, key=str) == sorted(expected, key=str)

    @invariant()
    def steps_agree(self) -> None:
        rows = self._queue.sql(
            """
            SELECT workflow_run_id, step_key, status::text, dependency_count_total, dependency_count_pending,
                   dependency_count_unsatisfied, job_id, released_at, started_at, finished_at, status_reason,
                   last_error_code, payload, output
              FROM workflow_steps
            """
        )
        expected: list[tuple[object, ...]] = [
            (
                run_id, key, step.status, len(step.request.dependencies), step.pending, step.unsatisfied,
                step.job and step.job.job_id, step.released_at, step.job and step.job.started_at, step.finished_at,
                *step.reason_and_code, step.payload, output_of(step, self._model.outputs),
            )
            for run_id, run in self._model.runs.items()
            for key, step in run.steps.items()
        ]  # fmt: skip
        assert sorted(rows, key=_run_and_key) == sorted(expected, key=_run_and_key)

    @invariant()
    def jobs_agree(self) -> None:
        rows = self._queue.sql(
            """
            SELECT q.id, q.status::text, q.run_number, q.attempt, q.next_run_at, q.worker_id, q.lease_expires_at,
                   q.finished_at, q.status_reason, q.last_error_code, q.payload, q.priority, q.max_attempts,
                   s.workflow_run_id, s.step_key,
                   (SELECT count(*) FROM job_attempts AS a WHERE a.job_id = q.id),
                   (SELECT count(*) FROM job_attempts AS a WHERE a.job_id = q.id AND a.finished_at IS NULL)
              FROM job_queue AS q LEFT JOIN workflow_steps AS s ON s.id = q.workflow_step_id
            """
        )
        steps = {
            step.job.job_id: (run_id, key, step.payload)
            for run_id, run in self._model.runs.items()
            for key, step in run.steps.items()
            if step.job is not None
        }
        expected: list[tuple[object, ...]] = []
        for job in self._model.queue.jobs.values():
            run_id, key, payload = steps.get(job.job_id, (None, None, job.request.payload))
            expected.append(
                (
                    job.job_id, job.status.value, job.run_number, job.attempt, job.next_run_at, job.worker_id,
                    job.lease_expires_at, job.finished_at, job.status_reason, job.last_error_code, payload,
                    job.priority, job.max_attempts, run_id, key, len(job.attempts),
                    sum(attempt.is_open for attempt in job.attempts.values()),
                )
            )  # fmt: skip
        assert sorted(rows, key=_id) == sorted(expected, key=_id)

    @invariant()
    def histories_agree(self) -> None:
        rows = self._queue.sql(
            "SELECT job_id, event_type::text, run_number, attempt FROM job_events ORDER BY job_id, id"
        )
        expected = [(job_id, *event) for job_id, job in sorted(self._model.queue.jobs.items()) for event in job.events]
        assert rows == expected

    def _settle(self) -> None:
        """Work out where the runs are, and look for the jobs that steps must have now; nobody else may have one."""
        released = self._model.settle(now=self._now)
        rows = self._queue.sql(
            "SELECT s.workflow_run_id, s.step_key, q.id FROM job_queue AS q JOIN workflow_steps AS s"
            " ON s.id = q.workflow_step_id WHERE NOT q.id = ANY (%s)",
            list(self._model.queue.jobs),
        )
        assert sorted((run_id, key) for run_id, key, _ in rows) == sorted(released)
        for run_id, key, job_id in rows:
            self._model.adopt(run_id, key, job_id, now=self._now)

    def _claim(self, worker_id: str, limit: int, *, is_start: bool) -> None:
        origin = JobClaimOrigin.WORKER_PRESTART
        claimed = self._queue.claim(
            worker_id, limit=limit, lease_ttl=LEASE_TTL, claim_origin=origin, is_start=is_start, now=self._now
        )
        leases = self._model.queue.claim(
            worker_id, limit=limit, ttl=LEASE_TTL, origin=origin, is_start=is_start, now=self._now
        )
        assert [job.lease for job in claimed] == leases
        for job in claimed:
            names = None if job.workflow_run_id is None else (job.workflow_run_id, job.workflow_step_key)
            assert names == self._model.step_of(job.job_id)
        self._leases += leases
        self._settle()

    def _complete(self, leases: list[LeaseIdentity], outputs_of: dict[UUID, int | None]) -> None:
        by_worker = {worker_id: [lease for lease in leases if lease.worker_id == worker_id] for worker_id in WORKERS}
        for worker_id, own in by_worker.items():
            successes = [
                jobs.JobSuccess(
                    lease=lease,
                    output_json=None if (output := outputs_of.get(lease.job_id)) is None else str(output),
                )
                for lease in own
            ]
            completed = self._queue.run(jobs.complete_jobs(worker_id, successes, now=self._now))
            assert completed == self._model.queue.complete(own, now=self._now)
            self._model.outputs.update({job_id: outputs_of.get(job_id) for job_id in completed})
            self._settle()

    def _fail(self, leases: list[LeaseIdentity], failure: ModelFailure) -> None:
        failures = [
            jobs.AttemptFailure(
                lease=lease,
                kind=failure.kind,
                error_code=failure.error_code,
                error_message="",
                retry_delay=timedelta(milliseconds=failure.retry_delay_ms),
            )
            for lease in leases
        ]
        if leases:
            failed = self._queue.run(jobs.fail_jobs(leases[0].worker_id, failures, now=self._now))
            assert failed == self._model.queue.fail(leases, failure, now=self._now)
            self._settle()

    def _reap(self, delay: timedelta) -> None:
        result = self._queue.run(jobs.reap_expired_leases(limit=100, retry_delay=delay, now=self._now))
        delay_ms = delay // timedelta(milliseconds=1)
        assert result.processed_count == self._model.queue.reap(delay_ms=delay_ms, now=self._now)
        self._settle()

    def _complete_gate(self, run_id: UUID, key: str, end: StepOutcome) -> None:
        refusal = self._model.complete_gate(run_id, key, end)
        self._run_refused(
            workflows.complete_external_workflow_step(
                run_id,
                key,
                scope=Admin(),
                status=end.status,
                output=end.output,
                reason=end.reason,
                error_code=end.error_code,
                now=self._now,
            ),
            refusal,
        )
        self._settle()

    def _append(
        self,
        operation: Operation[Any],
        run_id: UUID,
        request: workflows.WorkflowAppendRequest,
        expected: tuple[str, str | None],
    ) -> None:
        result, refused = self._attempt(operation)
        self._settle()
        assert ("REFUSED" if result is None else result.outcome.value, refused) == expected
        if result is not None:
            run = self._model.runs[run_id]
            assert result.run.status is run.status
            assert [(step.step_key, step.status) for step in result.steps] == [
                (step.step_key, run.steps[step.step_key].status) for step in request.steps
            ]

    def _draw_append(self, data: st.DataObject, run: ModelRun, window: str) -> workflows.WorkflowAppendRequest | None:
        """Draw an append, or one that was made before, or nearly the same."""
        if run.appends and data.draw(st.integers(0, 2)) == 0:
            mutation_key = data.draw(st.sampled_from(list(run.appends)))
            known_window, steps = run.appends[mutation_key]
            if data.draw(st.integers(0, 3)) == 0:
                steps = tuple(replace(step, payload=9) for step in steps)
            return workflows.WorkflowAppendRequest(
                mutation_key=mutation_key,
                window_step_key=known_window if data.draw(st.booleans()) else window,
                steps=steps,
            )
        if len(run.steps) >= _MAX_STEPS_OF_RUN:
            return None
        names = [f"x{self._appended + number}" for number in range(data.draw(st.integers(1, 3)))]
        self._appended += len(names)
        return workflows.WorkflowAppendRequest(
            mutation_key=names[0], window_step_key=window, steps=data.draw(steps_after(list(run.steps), names))
        )

    def _draw_run(self, data: st.DataObject, is_wanted: Callable[[ModelStep], bool]) -> tuple[UUID, ModelRun]:
        """Draw a run, mostly one with such a step."""
        likely = [run_id for run_id, run in self._model.runs.items() if any(map(is_wanted, run.steps.values()))]
        run_id = data.draw(st.sampled_from(likely * 9 + list(self._model.runs)))
        return run_id, self._model.runs[run_id]

    def _draw_batch(self, data: st.DataObject) -> list[LeaseIdentity]:
        """Draw leases of one worker, at most one for each job; mostly such that are held."""
        first = self._draw_lease(data)
        own = [lease for lease in self._likely_leases() if lease.worker_id == first.worker_id]
        rest = data.draw(st.lists(st.sampled_from(own), max_size=4))
        return list({lease.job_id: lease for lease in [*rest, first]}.values())

    def _draw_lease(self, data: st.DataObject) -> LeaseIdentity:
        return data.draw(st.sampled_from(self._likely_leases()))

    def _likely_leases(self) -> list[LeaseIdentity]:
        """Return all leases there were, those that are held many times."""
        leases = list(dict.fromkeys(self._leases))
        return [lease for lease in leases if self._model.queue.held([lease], self._now)] * 9 + leases

    def _has_gates(self) -> bool:
        return any(step.is_gate for run in self._model.runs.values() for step in run.steps.values())

    def _is_any_due(self) -> bool:
        known = self._model.queue.jobs.values()
        return any(job.status is JobStatus.PENDING and job.next_run_at <= self._now for job in known)

    def _run_fenced(self, operation: Operation[T], *, is_held: bool) -> T | None:
        """Run an operation that answers a lost lease with an error."""
        return self._run_refused(operation, None if is_held else "job.lease_owner_mismatch")

    def _run_refused(self, operation: Operation[T], code: str | None) -> T | None:
        """Run an operation that is refused with this code, or done."""
        result, refused = self._attempt(operation)
        assert refused == code
        return result

    def _attempt(self, operation: Operation[T]) -> tuple[T | None, str | None]:
        """Run an operation, and return what it returns or the code of its refusal."""
        try:
            return self._queue.run(operation), None
        except QueryError as error:
            return None, error.code


def _id(row: Sequence[Any]) -> UUID:
    return row[0]


def _run_and_key(row: Sequence[Any]) -> tuple[UUID, str]:
    return row[0], row[1]


@pytest.fixture
def queue(runledger_database: EphemeralDatabase) -> Iterator[WorkflowQueue]:
    workflow_queue = WorkflowQueue(runledger_database.url)
    yield workflow_queue
    workflow_queue.close()


@pytest.mark.slow
def test_the_ledger_and_the_model_agree_after_every_step(queue: WorkflowQueue) -> None:
    class Walk(WorkflowProgress):
        def __init__(self) -> None:
            super().__init__(queue)

    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
