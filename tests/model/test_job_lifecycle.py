"""Random walks: after every operation the ledger says what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
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
    CancellationNotQuiesced,
    ExpectationMismatch,
    JobClaimOrigin,
    JobFailureKind,
    JobProgress,
    JobStatus,
    LeaseIdentity,
    Requeued,
)
from runledger.postgres import QueryError, jobs
from runledger.testing import EphemeralDatabase
from tests.model.job_model import JobModel, ModelFailure
from tests.postgres.job_queue import JobQueue

WORKERS = ("worker-1", "worker-2")

# All spans are of the same few lengths, so that instants often coincide: the edges are where rules differ.
spans = st.sampled_from([timedelta(), timedelta(seconds=10), timedelta(seconds=30)])
lease_ttls = st.sampled_from([timedelta(seconds=10), timedelta(seconds=30)])
delays_ms = st.sampled_from([0, 10_000])
workers = st.sampled_from(WORKERS)
# Totals are not below any count, in whatever order they arrive.
progresses = st.builds(
    JobProgress,
    stage=st.sampled_from([None, "running", "sending"]),
    progress_done=st.sampled_from([None, 0, 3]),
    progress_total=st.sampled_from([None, 3, 8]),
    checkpoint=st.sampled_from([None, 1, 2]),
).filter(lambda progress: progress != JobProgress())
ENDS = [status for status in JobStatus if status.is_terminal]


class JobLifecycle(RuleBasedStateMachine):
    """Operations in any order, with leases of any age, under a clock that the test moves."""

    def __init__(self, queue: JobQueue) -> None:
        super().__init__()
        self._queue = queue
        self._model = JobModel()
        self._stages: dict[Any, str] = {}
        self._leases: list[LeaseIdentity] = []
        self._now = datetime(2030, 1, 1, tzinfo=UTC)

    @initialize()
    def empty(self) -> None:
        for table in ("job_events", "job_attempts", "job_dead_letters", "job_queue"):
            self._queue.sql(f"DELETE FROM {table}")

    @rule(span=st.sampled_from([timedelta(seconds=10), timedelta(seconds=10, microseconds=1)]))
    def time_passes(self, span: timedelta) -> None:
        self._now += span

    # Few jobs, so that much happens to each.
    @precondition(lambda self: len(self._model.jobs) < 3)
    @rule(
        priority=st.sampled_from([100, 200]),
        max_attempts=st.integers(1, 3),
        delay=spans,
        stage=st.sampled_from(["queued", "imported"]),
    )
    def enqueue(self, priority: int, max_attempts: int, delay: timedelta, stage: str) -> None:
        job_id = self._queue.enqueue(
            priority=priority, max_attempts=max_attempts, run_in=delay, stage=stage, now=self._now
        )
        self._stages[job_id] = stage
        self._model.enqueue(
            job_id, priority=priority, max_attempts=max_attempts, delay=delay, stage=stage, now=self._now
        )

    @rule(
        worker_id=workers,
        limit=st.integers(1, 3),
        ttl=lease_ttls,
        origin=st.sampled_from(list(JobClaimOrigin)),
        is_start=st.booleans(),
    )
    def claim(self, worker_id: str, limit: int, ttl: timedelta, origin: JobClaimOrigin, is_start: bool) -> None:  # noqa: FBT001 (drawn)
        claimed = self._queue.claim(
            worker_id, limit=limit, lease_ttl=ttl, claim_origin=origin, is_start=is_start, now=self._now
        )
        expected = self._model.claim(worker_id, limit=limit, ttl=ttl, origin=origin, is_start=is_start, now=self._now)
        assert [job.lease for job in claimed] == expected
        self._leases += expected

    @rule(data=st.data(), worker_id=workers, ttl=lease_ttls)
    def renew(self, data: st.DataObject, worker_id: str, ttl: timedelta) -> None:
        leases = self._draw_batch(data, worker_id)
        renewed = self._queue.run(jobs.renew_leases(worker_id, leases, lease_ttl=ttl, now=self._now))
        assert renewed == self._model.renew(leases, ttl=ttl, now=self._now)

    @rule(data=st.data(), ttl=lease_ttls)
    def heartbeat(self, data: st.DataObject, ttl: timedelta) -> None:
        for lease in self._draw_lease(data):
            is_held = self._model.heartbeat(lease, ttl=ttl, now=self._now)
            self._run_fenced(jobs.heartbeat_job(lease, lease_ttl=ttl, now=self._now), is_held=is_held)

    @rule(data=st.data(), worker_id=workers)
    def complete(self, data: st.DataObject, worker_id: str) -> None:
        leases = self._draw_batch(data, worker_id)
        successes = [jobs.JobSuccess(lease=lease) for lease in leases]
        completed = self._queue.run(jobs.complete_jobs(worker_id, successes, now=self._now))
        assert completed == self._model.complete(leases, now=self._now)

    @rule(data=st.data(), worker_id=workers, kind=st.sampled_from(list(JobFailureKind)), delay_ms=delays_ms)
    def fail(self, data: st.DataObject, worker_id: str, kind: JobFailureKind, delay_ms: int) -> None:
        leases = self._draw_batch(data, worker_id)
        failure = ModelFailure(kind, "smtp.busy", delay_ms)
        failures = [
            jobs.AttemptFailure(
                lease=lease,
                kind=kind,
                error_code=failure.error_code,
                error_message="",
                retry_delay=timedelta(milliseconds=delay_ms),
            )
            for lease in leases
        ]
        failed = self._queue.run(jobs.fail_jobs(worker_id, failures, now=self._now))
        assert failed == self._model.fail(leases, failure, now=self._now)

    @rule(data=st.data(), worker_id=workers, delay=spans)
    def return_claims(self, data: st.DataObject, worker_id: str, delay: timedelta) -> None:
        """Allowed at any time while it is held: only the holder knows whether its handler was called."""
        leases = self._draw_batch(data, worker_id)
        returned = self._queue.run(
            jobs.return_claims(worker_id, leases, reason="WORKER_SHUTDOWN", retry_delay=delay, now=self._now)
        )
        assert returned == self._model.give_back(leases, stages=self._stages, delay=delay, now=self._now)

    @rule(data=st.data(), worker_id=workers, progress=progresses)
    def update_progress(self, data: st.DataObject, worker_id: str, progress: JobProgress) -> None:
        leases = self._draw_batch(data, worker_id)
        updates = [jobs.JobProgressUpdate(lease=lease, progress=progress) for lease in leases]
        updated = self._queue.run(jobs.update_progress_of_jobs(worker_id, updates, now=self._now))
        assert updated == self._model.update_progress(leases, progress, now=self._now)

    @rule(data=st.data(), delay=spans)
    def release_unstarted_job_claim(self, data: st.DataObject, delay: timedelta) -> None:
        for lease in self._draw_lease(data):
            refusal = self._model.release_unstarted(lease, delay=delay, now=self._now)
            self._run_refused(
                jobs.release_unstarted_job_claim(lease, reason="OVERLOADED", retry_delay=delay, now=self._now), refusal
            )

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        for job_id in self._draw_job(data):
            is_canceled = self._model.cancel(job_id, now=self._now)
            self._run_refused(
                jobs.cancel_job(job_id, scope=Admin(), now=self._now),
                None if is_canceled else "job.invalid_state_transition",
            )

    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        for job_id in self._draw_job(data):
            is_requeued = self._model.requeue(job_id, keeps_progress=False, now=self._now)
            self._run_refused(
                jobs.requeue_job(job_id, scope=Admin(), now=self._now),
                None if is_requeued else "job.invalid_state_transition",
            )

    @rule(data=st.data(), keeps_progress=st.booleans())
    def compare_and_requeue(self, data: st.DataObject, keeps_progress: bool) -> None:  # noqa: FBT001 (drawn)
        for job_id in self._draw_job(data):
            job = self._model.jobs[job_id]
            likely = [job.status] * 3 if job.status.is_terminal else []
            status = data.draw(st.sampled_from(likely + ENDS))
            run_number = data.draw(st.sampled_from([job.run_number, job.run_number, max(job.run_number - 1, 1)]))
            outcome = self._queue.run(
                jobs.compare_and_requeue_job(
                    job_id,
                    scope=Admin(),
                    expected_status=status,
                    expected_run_number=run_number,
                    keeps_progress=keeps_progress,
                    now=self._now,
                )
            )
            if (status, run_number) != (job.status, job.run_number):
                assert outcome == ExpectationMismatch(status=job.status, run_number=job.run_number)
            elif (end := job.canceled_lease_expires_at) is not None and end > self._now:
                assert outcome == CancellationNotQuiesced(retry_after=end - self._now)
            else:
                assert isinstance(outcome, Requeued)
                assert self._model.requeue(job_id, keeps_progress=keeps_progress, now=self._now)

    @rule(delay_ms=delays_ms)
    def reap(self, delay_ms: int) -> None:
        result = self._queue.run(
            jobs.reap_expired_leases(limit=100, retry_delay=timedelta(milliseconds=delay_ms), now=self._now)
        )
        assert result.processed_count == self._model.reap(delay_ms=delay_ms, now=self._now)

    @invariant()
    def jobs_agree(self) -> None:
        rows = self._queue.sql(
            """
            SELECT id, status::text, run_number, attempt, next_run_at, stage, worker_id, lease_expires_at, started_at,
                   finished_at, canceled_lease_expires_at, progress_done, progress_total, checkpoint::integer,
                   status_reason, last_error_code
              FROM job_queue
            """
        )
        expected = [
            (
                job.job_id, job.status.value, job.run_number, job.attempt, job.next_run_at, job.stage, job.worker_id,
                job.lease_expires_at, job.started_at, job.finished_at, job.canceled_lease_expires_at,
                job.progress_done, job.progress_total, job.checkpoint, job.status_reason, job.last_error_code,
            )
            for job in self._model.jobs.values()
        ]  # fmt: skip
        assert sorted(rows) == sorted(expected)

    @invariant()
    def attempts_agree(self) -> None:
        rows = self._queue.sql(
            """
            SELECT job_id, run_number, attempt, worker_id, claim_origin, execution_started_persisted_at IS NOT NULL,
                   finished_at IS NULL, outcome::text, error_code, retry_delay_ms
              FROM job_attempts
            """
        )
        expected = [
            (
                job.job_id, *key, attempt.worker_id, attempt.origin.value, attempt.is_started, attempt.is_open,
                attempt.outcome and attempt.outcome.value, attempt.error_code, attempt.retry_delay_ms,
            )
            for job in self._model.jobs.values()
            for key, attempt in job.attempts.items()
        ]  # fmt: skip
        assert sorted(rows) == sorted(expected)

    @invariant()
    def histories_agree(self) -> None:
        rows = self._queue.sql(
            "SELECT job_id, event_type::text, run_number, attempt FROM job_events ORDER BY job_id, id"
        )
        expected = [(job.job_id, *event) for _, job in sorted(self._model.jobs.items()) for event in job.events]
        assert rows == expected
        dead_letters = self._queue.sql("SELECT job_id, run_number, attempt, error_code FROM job_dead_letters")
        assert sorted(dead_letters) == sorted(
            (job.job_id, *job.dead_letter) for job in self._model.jobs.values() if job.dead_letter is not None
        )

    def _draw_batch(self, data: st.DataObject, worker_id: str) -> list[LeaseIdentity]:
        """Draw leases of one worker, at most one for each job; mostly young ones, which may still be held."""
        own = [lease for lease in reversed(self._leases) if lease.worker_id == worker_id]
        if not own:
            return []
        drawn = st.one_of(st.sampled_from(own[:3]), st.sampled_from(own))
        return data.draw(st.lists(drawn, min_size=1, max_size=3, unique_by=lambda lease: lease.job_id))

    def _draw_lease(self, data: st.DataObject) -> list[LeaseIdentity]:
        return [data.draw(st.sampled_from(self._leases[-4:]))] if self._leases else []

    def _draw_job(self, data: st.DataObject) -> list[UUID]:
        return [data.draw(st.sampled_from(list(self._model.jobs)))] if self._model.jobs else []

    def _run_fenced(self, operation: Any, *, is_held: bool) -> None:
        """Run an operation that answers a lost lease with an error."""
        self._run_refused(operation, None if is_held else "job.lease_owner_mismatch")

    def _run_refused(self, operation: Any, code: str | None) -> None:
        """Run an operation that is refused with this code, or done."""
        refused: str | None = None
        try:
            self._queue.run(operation)
        except QueryError as error:
            refused = error.code
        assert refused == code


@pytest.fixture
def queue(runledger_database: EphemeralDatabase) -> Iterator[JobQueue]:
    job_queue = JobQueue(runledger_database.url)
    job_queue.define()
    yield job_queue
    job_queue.close()


@pytest.mark.slow
def test_the_ledger_and_the_model_agree_after_every_step(queue: JobQueue) -> None:
    class Walk(JobLifecycle):
        def __init__(self) -> None:
            super().__init__(queue)

    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=150,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
