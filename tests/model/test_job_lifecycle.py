"""Random walks: after every operation the ledger says what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from runledger.core import JobClaimOrigin, JobFailureKind, LeaseIdentity
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
                   finished_at, status_reason, last_error_code
              FROM job_queue
            """
        )
        expected = [
            (
                job.job_id, job.status.value, job.run_number, job.attempt, job.next_run_at, job.stage, job.worker_id,
                job.lease_expires_at, job.started_at, job.finished_at, job.status_reason, job.last_error_code,
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

    def _run_fenced(self, operation: Any, *, is_held: bool) -> None:
        """Run an operation that answers a lost lease with an error."""
        if is_held:
            self._queue.run(operation)
        else:
            with pytest.raises(QueryError) as refused:
                self._queue.run(operation)
            assert refused.value.code == "job.lease_owner_mismatch"


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
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
