"""Random walks: after every operation the ledger says what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
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
    CancellationNotQuiesced,
    EnqueueRequest,
    ExpectationMismatch,
    JobClaimOrigin,
    JobDefinition,
    JobFailureKind,
    JobProgress,
    JobStatus,
    LeaseIdentity,
    Requeued,
)
from runledger.postgres import Operation, QueryError, jobs
from runledger.testing import EphemeralDatabase
from tests.model.job_model import JobModel, ModelFailure, canonical_json, payload_of
from tests.postgres.job_queue import JobQueue

T = TypeVar("T")

WORKERS = ("worker-1", "worker-2")
JOB_TYPES = ("email.send", "report.make")
START = datetime(2030, 1, 1, tzinfo=UTC)

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

# Values of requests, few enough to meet again. Some are the same in other words, such as 1 and 1.0, or an instant in
# another zone; some only look the same, such as 1 and true, or a default that is spelled out and one that is left out.
job_types = st.sampled_from(JOB_TYPES)
payloads = st.sampled_from(
    [None, {}, {"to": None}, {"to": [1, "a"], "n": 100}, {"n": 1e2, "to": [1.0, "a"]}, {"to": [True, "a"], "n": 100}]
)
priorities = st.sampled_from([None, 100, 200])
attempt_limits = st.sampled_from([None, 1, 3])
timeouts = st.sampled_from([None, timedelta(seconds=30), timedelta(seconds=60)])
dues = st.sampled_from(
    [
        {"run_at": None, "run_in": None},
        {"run_at": None, "run_in": timedelta()},
        {"run_at": None, "run_in": timedelta(seconds=10, microseconds=1)},
        {"run_at": START, "run_in": None},
        {"run_at": START.astimezone(timezone(timedelta(hours=2))), "run_in": None},
        {"run_at": START + timedelta(microseconds=1), "run_in": None},
    ]
)
stages = st.sampled_from(["queued", "imported"])
keys = st.sampled_from(["a", "b"])
organizations = st.sampled_from([None, None, UUID(int=1), UUID(int=2)])
definitions = st.builds(
    JobDefinition,
    job_type=job_types,
    max_attempts=st.sampled_from([1, 3]),
    default_priority=st.sampled_from([100, 200]),
    default_timeout=st.sampled_from([timedelta(seconds=30), timedelta(seconds=60)]),
    is_enabled=st.sampled_from([True, True, False]),
)
# The due time is added by replacing it.
requests = st.builds(
    EnqueueRequest,
    job_type=job_types,
    payload=payloads,
    priority=priorities,
    max_attempts=attempt_limits,
    timeout=timeouts,
    stage=stages,
    organization_id=organizations,
)
# What is asked for otherwise when a key is used again: at most one member.
changes = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"payload": payloads}),
    st.fixed_dictionaries({"priority": priorities}),
    st.fixed_dictionaries({"max_attempts": attempt_limits}),
    st.fixed_dictionaries({"timeout": timeouts}),
    dues,
    st.fixed_dictionaries({"stage": stages}),
)


class JobLifecycle(RuleBasedStateMachine):
    """Operations in any order, with leases of any age, under a clock that the test moves."""

    def __init__(self, queue: JobQueue) -> None:
        super().__init__()
        self._queue = queue
        self._model = JobModel()
        self._leases: list[LeaseIdentity] = []
        self._now = START
        self._repeated_in: object = None

    @initialize()
    def empty(self) -> None:
        for table in ("job_events", "job_attempts", "job_dead_letters", "job_queue"):
            self._queue.sql(f"DELETE FROM {table}")
        for job_type in JOB_TYPES:
            self.define(JobDefinition(job_type=job_type, max_attempts=3, default_timeout=timedelta(seconds=30)))

    @rule(span=st.sampled_from([timedelta(seconds=10), timedelta(seconds=10, microseconds=1)]))
    def time_passes(self, span: timedelta) -> None:
        self._now += span

    @rule(definition=definitions)
    def define(self, definition: JobDefinition) -> None:
        self._queue.run(jobs.upsert_job_definitions([definition]))
        self._model.define(definition)

    # Few jobs, so that much happens to each.
    @precondition(lambda self: len(self._model.jobs) < 3)
    @rule(
        priority=st.sampled_from([100, 200]),
        max_attempts=st.integers(1, 3),
        delay=spans,
        stage=stages,
        key=st.one_of(st.none(), keys),
    )
    def enqueue(self, priority: int, max_attempts: int, delay: timedelta, stage: str, key: str | None) -> None:
        request = EnqueueRequest(
            JOB_TYPES[0],
            None,
            priority=priority,
            max_attempts=max_attempts,
            run_in=delay,
            stage=stage,
            idempotency_key=key,
        )
        self._enqueue_one(request)

    @rule(data=st.data())
    def enqueue_with_key(self, data: st.DataObject) -> None:
        for request in self._draw_requests(data, max_size=1):
            self._enqueue_one(request)

    @rule(data=st.data())
    def enqueue_many(self, data: st.DataObject) -> None:
        self._enqueue_many(self._draw_requests(data, max_size=3))

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

    @rule(worker_id=workers, kind=st.sampled_from([None, *JobFailureKind]))
    def run_one(self, worker_id: str, kind: JobFailureKind | None) -> None:
        """Claim a job and end it at once, so that many walks come to the ends."""
        known = len(self._leases)
        self.claim(worker_id, limit=1, ttl=timedelta(seconds=10), origin=JobClaimOrigin.WORKER_PRESTART, is_start=True)
        leases = self._leases[known:]
        if kind is None:
            self._complete(worker_id, leases)
        else:
            self._fail(worker_id, leases, ModelFailure(kind, "smtp.busy", 0))

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
        self._complete(worker_id, self._draw_batch(data, worker_id))

    @rule(data=st.data(), worker_id=workers, kind=st.sampled_from(list(JobFailureKind)), delay_ms=delays_ms)
    def fail(self, data: st.DataObject, worker_id: str, kind: JobFailureKind, delay_ms: int) -> None:
        self._fail(worker_id, self._draw_batch(data, worker_id), ModelFailure(kind, "smtp.busy", delay_ms))

    @rule(data=st.data(), worker_id=workers, delay=spans)
    def return_claims(self, data: st.DataObject, worker_id: str, delay: timedelta) -> None:
        """Allowed at any time while it is held: only the holder knows whether its handler was called."""
        leases = self._draw_batch(data, worker_id)
        returned = self._queue.run(
            jobs.return_claims(worker_id, leases, reason="WORKER_SHUTDOWN", retry_delay=delay, now=self._now)
        )
        assert returned == self._model.give_back(leases, delay=delay, now=self._now)

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
                   status_reason, last_error_code, job_type, organization_id, idempotency_key, priority, max_attempts,
                   timeout_seconds, payload, enqueue_request
              FROM job_queue
            """
        )
        expected = [
            (
                job.job_id, job.status.value, job.run_number, job.attempt, job.next_run_at, job.stage, job.worker_id,
                job.lease_expires_at, job.started_at, job.finished_at, job.canceled_lease_expires_at,
                job.progress_done, job.progress_total, job.checkpoint, job.status_reason, job.last_error_code,
                job.request.job_type, job.request.organization_id, job.request.idempotency_key, job.priority,
                job.max_attempts, int(job.timeout.total_seconds()),
                canonical_json(payload_of(job.request)), canonical_json(job.snapshot),
            )
            for job in self._model.jobs.values()
        ]  # fmt: skip
        found = [(*row, canonical_json(payload), canonical_json(snapshot)) for *row, payload, snapshot in rows]
        assert sorted(found) == sorted(expected)

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

    @invariant()
    def repeats_agree(self) -> None:
        """ENQ-010, ENQ-011, ENQ-025 to ENQ-027, whatever became of the job, its definition and its neighbours."""
        jobs_and_definitions = (
            [(job.status, job.run_number) for job in self._model.jobs.values()],
            dict(self._model.definitions),
        )
        if jobs_and_definitions != self._repeated_in:
            self._enqueue_many([self._model.jobs[job_id].request for job_id in self._model.keys.values()])
            self._repeated_in = jobs_and_definitions

    def _complete(self, worker_id: str, leases: list[LeaseIdentity]) -> None:
        successes = [jobs.JobSuccess(lease=lease) for lease in leases]
        completed = self._queue.run(jobs.complete_jobs(worker_id, successes, now=self._now))
        assert completed == self._model.complete(leases, now=self._now)

    def _fail(self, worker_id: str, leases: list[LeaseIdentity], failure: ModelFailure) -> None:
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
        failed = self._queue.run(jobs.fail_jobs(worker_id, failures, now=self._now))
        assert failed == self._model.fail(leases, failure, now=self._now)

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

    def _draw_requests(self, data: st.DataObject, *, max_size: int) -> list[EnqueueRequest]:
        """Draw requests, most of them with a key, and most of those with one that is known or stands in the batch."""
        drawn: list[EnqueueRequest] = []
        for _ in range(data.draw(st.integers(1, max_size))):
            earlier = [self._model.jobs[job_id].request for job_id in self._model.keys.values()]
            earlier += [request for request in drawn if request.idempotency_key is not None]
            is_new = len(self._model.jobs) + len(drawn) < 5
            if earlier and (not is_new or data.draw(st.integers(0, 3))):
                request = data.draw(st.sampled_from(earlier))
                drawn.append(replace(request, **data.draw(changes)))
            elif is_new:
                key = data.draw(keys if max_size == 1 else st.one_of(st.none(), keys))
                drawn.append(replace(data.draw(requests), idempotency_key=key, **data.draw(dues)))
        return drawn

    def _enqueue_one(self, request: EnqueueRequest) -> None:
        before = self._row_versions()
        job_id, refused = self._attempt(jobs.enqueue_job(request, now=self._now))
        self._check_enqueued([request], None if job_id is None else [job_id], refused, before)

    def _enqueue_many(self, requests: Sequence[EnqueueRequest]) -> None:
        before = self._row_versions()
        ids, refused = self._attempt(jobs.enqueue_jobs(requests, now=self._now))
        self._check_enqueued(requests, ids, refused, before)

    def _check_enqueued(
        self, requests: Sequence[EnqueueRequest], ids: list[UUID] | None, refused: str | None, before: dict[UUID, str]
    ) -> None:
        """Check an enqueue: it made all that it should or nothing, and left the jobs that were there alone."""
        assert refused in (self._model.refusals(requests) or {None})
        if ids is not None:
            assert ids == self._model.enqueue(requests, ids, now=self._now)
        after = self._row_versions()
        assert {job_id: after[job_id] for job_id in before} == before

    def _row_versions(self) -> dict[UUID, str]:
        """Return what changes with every write and every lock of a job."""
        return dict(self._queue.sql("SELECT id, ROW(ctid, xmin, xmax)::text FROM job_queue"))

    def _run_fenced(self, operation: Any, *, is_held: bool) -> None:
        """Run an operation that answers a lost lease with an error."""
        self._run_refused(operation, None if is_held else "job.lease_owner_mismatch")

    def _run_refused(self, operation: Any, code: str | None) -> None:
        """Run an operation that is refused with this code, or done."""
        _, refused = self._attempt(operation)
        assert refused == code

    def _attempt(self, operation: Operation[T]) -> tuple[T | None, str | None]:
        """Run an operation, and return what it returns or the code of its refusal."""
        try:
            return self._queue.run(operation), None
        except QueryError as error:
            return None, error.code


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
