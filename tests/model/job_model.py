"""What the ledger must say after each operation: the rules of ``core``, carried out in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, cast
from uuid import UUID

from runledger.core import (
    EnqueueRequest,
    JobClaimOrigin,
    JobDefinition,
    JobFailureKind,
    JobProgress,
    JobStatus,
    JsonValue,
    LeaseIdentity,
)
from runledger.core.jobs.failure_decision import RetryDecision, decide_failure
from runledger.core.jobs.status import TRANSITIONS

_PERMITTED = {(move.from_status, move.to_status, move.operation) for move in TRANSITIONS}


@dataclass(slots=True, kw_only=True)
class ModelAttempt:
    """A row of ``job_attempts``."""

    worker_id: str
    origin: JobClaimOrigin
    is_started: bool
    is_open: bool = True
    outcome: JobFailureKind | None = None
    error_code: str | None = None
    retry_delay_ms: int | None = None


@dataclass(slots=True, kw_only=True)
class ModelJob:
    """A row of ``job_queue`` with its attempts, events and dead letter."""

    job_id: UUID
    request: EnqueueRequest
    snapshot: dict[str, JsonValue] | None
    priority: int
    max_attempts: int
    timeout: timedelta
    next_run_at: datetime
    stage: str
    status: JobStatus = JobStatus.PENDING
    run_number: int = 1
    attempt: int = 0
    worker_id: str | None = None
    lease_expires_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    canceled_lease_expires_at: datetime | None = None
    progress_done: int | None = None
    progress_total: int | None = None
    checkpoint: int | None = None
    status_reason: str | None = None
    last_error_code: str | None = None
    attempts: dict[tuple[int, int], ModelAttempt] = field(default_factory=dict[tuple[int, int], ModelAttempt])
    events: list[tuple[str, int, int | None]] = field(default_factory=list[tuple[str, int, int | None]])
    dead_letter: tuple[int, int, str] | None = None

    def move(self, to_status: JobStatus, operation: str) -> None:
        """Change the status, if the table of transitions knows such a move."""
        assert (self.status, to_status, operation) in _PERMITTED
        self.status = to_status

    def note(self, *event_types: str, attempt: int | None = None) -> None:
        """Add events of this run."""
        number = self.attempt if attempt is None else attempt
        self.events += [(event_type, self.run_number, number or None) for event_type in event_types]

    def is_held(self, lease: LeaseIdentity, now: datetime) -> bool:
        """Whether the fence lets this lease through."""
        return (
            self.status is JobStatus.LEASED
            and (self.run_number, self.attempt, self.worker_id) == (lease.run_number, lease.attempt, lease.worker_id)
            and self.lease_expires_at is not None
            and self.lease_expires_at > now
        )

    @property
    def open_attempt(self) -> ModelAttempt:
        return self.attempts[self.run_number, self.attempt]

    def release(self) -> None:
        """Forget the lease."""
        self.worker_id = None
        self.lease_expires_at = None


class ModelFailure(NamedTuple):
    """How an attempt fails."""

    kind: JobFailureKind
    error_code: str
    retry_delay_ms: int


class Key(NamedTuple):
    """Whose an idempotency key is: the job type, the organisation or the global scope, the key."""

    job_type: str
    organization_id: UUID | None
    text: str


class JobModel:
    """A queue in memory. Each method is one operation, and returns what the operation returns."""

    def __init__(self) -> None:
        self.definitions: dict[str, JobDefinition] = {}
        self.jobs: dict[UUID, ModelJob] = {}
        self.keys: dict[Key, UUID] = {}

    def define(self, definition: JobDefinition) -> None:
        """Set what later requests are completed with; jobs that exist stay as they are."""
        self.definitions[definition.job_type] = definition

    def refusals(self, requests: Sequence[EnqueueRequest]) -> set[str]:
        """Return the codes with which a request of a batch is refused, and so all of it; none if it is accepted.

        Which of several refusals is told is not part of the contract.
        """
        snapshots = {key: self.jobs[job_id].snapshot for key, job_id in self.keys.items()}
        codes: set[str] = set()
        for request in requests:
            key = key_of(request)
            if key is not None and key in snapshots:
                if canonical_json(snapshots[key]) != canonical_json(snapshot_of(request)):
                    codes.add("job.idempotency_conflict")
            elif not self.definitions[request.job_type].is_enabled:
                codes.add("job.definition_not_found_or_disabled")
            elif key is not None:
                snapshots[key] = snapshot_of(request)
        return codes

    def enqueue(self, requests: Sequence[EnqueueRequest], ids: Sequence[UUID], *, now: datetime) -> list[UUID]:
        """Make the jobs of requests that are accepted, and return their ids; ``ids`` are those of new jobs."""
        return [self._enqueue_one(request, job_id, now) for request, job_id in zip(requests, ids, strict=True)]

    def _enqueue_one(self, request: EnqueueRequest, job_id: UUID, now: datetime) -> UUID:
        key = key_of(request)
        if key is not None and key in self.keys:
            return self.keys[key]
        assert (None, JobStatus.PENDING, "enqueue") in _PERMITTED
        assert job_id not in self.jobs
        definition = self.definitions[request.job_type]
        job = ModelJob(
            job_id=job_id,
            request=request,
            snapshot=None if key is None else snapshot_of(request),
            priority=definition.default_priority if request.priority is None else request.priority,
            max_attempts=definition.max_attempts if request.max_attempts is None else request.max_attempts,
            timeout=definition.default_timeout if request.timeout is None else request.timeout,
            next_run_at=request.run_at or now + (request.run_in or timedelta()),
            stage=request.stage,
        )
        job.note("ENQUEUED")
        self.jobs[job_id] = job
        if key is not None:
            self.keys[key] = job_id
        return job_id

    def claim(
        self, worker_id: str, *, limit: int, ttl: timedelta, origin: JobClaimOrigin, is_start: bool, now: datetime
    ) -> list[LeaseIdentity]:
        due = [job for job in self.jobs.values() if job.status is JobStatus.PENDING and job.next_run_at <= now]
        due.sort(key=lambda job: (-job.priority, job.next_run_at, job.job_id))
        leases: list[LeaseIdentity] = []
        for job in due[:limit]:
            job.move(JobStatus.LEASED, "claim")
            job.attempt += 1
            job.worker_id = worker_id
            job.lease_expires_at = now + ttl
            job.started_at = job.started_at or now
            job.stage = "running" if is_start else job.stage
            job.attempts[job.run_number, job.attempt] = ModelAttempt(
                worker_id=worker_id, origin=origin, is_started=is_start
            )
            job.note("LEASED")
            leases.append(
                LeaseIdentity(job_id=job.job_id, run_number=job.run_number, attempt=job.attempt, worker_id=worker_id)
            )
        return leases

    def held(self, leases: Collection[LeaseIdentity], now: datetime) -> list[ModelJob]:
        """Return the jobs whose fence lets these leases through."""
        return [self.jobs[lease.job_id] for lease in leases if self.jobs[lease.job_id].is_held(lease, now)]

    def renew(self, leases: Collection[LeaseIdentity], *, ttl: timedelta, now: datetime) -> set[UUID]:
        for job in (held := self.held(leases, now)):
            job.lease_expires_at = now + ttl
        return {job.job_id for job in held}

    def heartbeat(self, lease: LeaseIdentity, *, ttl: timedelta, now: datetime) -> bool:
        for job in (held := self.held([lease], now)):
            job.lease_expires_at = now + ttl
            job.note("HEARTBEAT")
        return bool(held)

    def complete(self, leases: Collection[LeaseIdentity], *, now: datetime) -> set[UUID]:
        for job in (held := self.held(leases, now)):
            job.move(JobStatus.SUCCEEDED, "complete")
            job.release()
            job.finished_at = now
            job.stage = "completed"
            job.status_reason = job.last_error_code = None
            job.open_attempt.is_open = False
            job.note("SUCCEEDED")
        return {job.job_id for job in held}

    def fail(self, leases: Collection[LeaseIdentity], failure: ModelFailure, *, now: datetime) -> dict[UUID, bool]:
        held = self.held(leases, now)
        for job in held:
            self._end_attempt(job, "fail", failure, now)
        return {job.job_id: job.status is JobStatus.DEAD_LETTERED for job in held}

    def give_back(self, leases: Collection[LeaseIdentity], *, delay: timedelta, now: datetime) -> set[UUID]:
        for job in (held := self.held(leases, now)):
            if job.attempt == 1:
                job.stage = "queued" if job.run_number > 1 else job.request.stage
            self._release(job, "return_claims", now + delay)
        return {job.job_id for job in held}

    def update_progress(self, leases: Collection[LeaseIdentity], progress: JobProgress, *, now: datetime) -> set[UUID]:
        for job in (held := self.held(leases, now)):
            if progress.stage is not None:
                job.stage = progress.stage
                job.open_attempt.is_started |= progress.stage == "running"
                job.note("STAGE_CHANGED")
            if progress.progress_done is not None:
                job.progress_done = progress.progress_done
            if progress.progress_total is not None:
                job.progress_total = progress.progress_total
            if progress.progress_done is not None or progress.progress_total is not None:
                job.note("PROGRESS")
            if isinstance(progress.checkpoint, int):
                job.checkpoint = progress.checkpoint
        return {job.job_id for job in held}

    def release_unstarted(self, lease: LeaseIdentity, *, delay: timedelta, now: datetime) -> str | None:
        """Give one claim back, or return the code of the refusal."""
        job = self.jobs[lease.job_id]
        if job.status is JobStatus.LEASED and not job.is_held(lease, now):
            return "job.lease_owner_mismatch"
        if (
            job.status is not JobStatus.LEASED
            or job.open_attempt.is_started
            or job.open_attempt.origin is not JobClaimOrigin.WORKER_PRESTART
        ):
            return "job.unstarted_claim_release_not_applicable"
        self._release(job, "release_unstarted_job_claim", now + delay)
        return None

    def cancel(self, job_id: UUID, *, now: datetime) -> bool:
        job = self.jobs[job_id]
        if job.status.is_terminal:
            return False
        if job.status is JobStatus.LEASED:
            job.open_attempt.is_open = False
            ends = [end for end in (job.canceled_lease_expires_at, job.lease_expires_at) if end is not None]
            job.canceled_lease_expires_at = max(ends)
        job.move(JobStatus.CANCELED, "cancel")
        job.release()
        job.finished_at = now
        job.status_reason = "CANCELED"
        job.note("CANCELED")
        return True

    def requeue(self, job_id: UUID, *, keeps_progress: bool, now: datetime) -> bool:
        job = self.jobs[job_id]
        if not job.status.is_terminal:
            return False
        job.note("REQUEUED")
        job.move(JobStatus.PENDING, "requeue")
        job.run_number += 1
        job.attempt = 0
        job.stage = "queued"
        job.next_run_at = now
        job.started_at = job.finished_at = None
        job.status_reason, job.last_error_code = "REQUEUED", None
        if not keeps_progress:
            job.progress_done = job.progress_total = job.checkpoint = None
        return True

    def reap(self, *, delay_ms: int, now: datetime) -> int:
        """Take all expired leases away."""
        expired = [job for job in self.jobs.values() if job.lease_expires_at is not None and job.lease_expires_at < now]
        for job in expired:
            attempt = job.open_attempt
            if attempt.origin is JobClaimOrigin.WORKER_PRESTART and not attempt.is_started:
                self._release(job, "reap", now)
            else:
                failure = ModelFailure(JobFailureKind.LEASE_EXPIRED, "job.lease_expired", delay_ms)
                self._end_attempt(job, "reap", failure, now)
        return len(expired)

    def _end_attempt(self, job: ModelJob, operation: str, failure: ModelFailure, now: datetime) -> None:
        decision = decide_failure(failure.kind, job.attempt, job.max_attempts, failure.retry_delay_ms)
        attempt = job.open_attempt
        attempt.is_open, attempt.outcome, attempt.error_code = False, failure.kind, failure.error_code
        job.status_reason, job.last_error_code = failure.kind.value, failure.error_code
        job.release()
        if isinstance(decision, RetryDecision):
            job.move(JobStatus.PENDING, operation)
            attempt.retry_delay_ms = decision.retry_delay_ms
            job.next_run_at = now + timedelta(milliseconds=decision.retry_delay_ms)
            job.note("FAILED", "RETRY_SCHEDULED")
        else:
            job.move(JobStatus.DEAD_LETTERED, operation)
            job.finished_at = now
            job.dead_letter = (job.run_number, job.attempt, failure.error_code)
            job.note("FAILED", "DEAD_LETTERED")

    def _release(self, job: ModelJob, operation: str, next_run_at: datetime) -> None:
        """Undo a claim whose handler was never called: its attempt is deleted and not consumed."""
        job.move(JobStatus.PENDING, operation)
        del job.attempts[job.run_number, job.attempt]
        job.note("REQUEUED")
        job.attempt -= 1
        if job.attempt == 0:
            job.started_at = None
        job.status_reason = job.last_error_code = None
        job.next_run_at = next_run_at
        job.release()


def key_of(request: EnqueueRequest) -> Key | None:
    """Return the key of a request with its scope, where it has one."""
    if request.idempotency_key is None:
        return None
    return Key(request.job_type, request.organization_id, request.idempotency_key)


def snapshot_of(request: EnqueueRequest) -> dict[str, JsonValue]:
    """Return the six members by which requests with one key are compared: what was asked for, not what it became."""
    next_run_at = None
    if request.run_at is not None:
        next_run_at = request.run_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    elif request.run_in is not None:
        next_run_at = f"PT{request.run_in // timedelta(seconds=1)}.{request.run_in.microseconds:06}S"
    return {
        "payload": payload_of(request),
        "priority": request.priority,
        "max_attempts": request.max_attempts,
        "timeout_seconds": request.timeout_seconds,
        "next_run_at": next_run_at,
        "stage": request.stage,
    }


def payload_of(request: EnqueueRequest) -> JsonValue:
    """Return the payload; in the walk it is plain JSON."""
    return cast("JsonValue", request.payload)


def canonical_json(value: JsonValue) -> object:
    """Return a form in which equal JSON is equal: numbers by value and apart from booleans, members in any order."""
    match value:
        case bool() | None | str():
            return (type(value), value)
        case int() | float():
            return (Decimal, Decimal(str(value)))
        case Mapping():
            return {name: canonical_json(member) for name, member in value.items()}
        case _:
            return [canonical_json(element) for element in value]
