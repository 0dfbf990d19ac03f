"""Rows of the job queue as values.

Their ``repr`` leaves out what an application may want to keep to itself (payloads, checkpoints, outputs,
idempotency keys, error messages), so that a record can be logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.setting_checks import check_int32, check_whole_seconds
from runledger.core.jobs.status import JobClaimOrigin, JobEventType, JobFailureKind, JobStatus
from runledger.core.json_value import JsonValue, decode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition:
    """A job type and the defaults of its jobs.

    The defaults are copied at enqueue: a change leaves existing jobs alone.

    Attributes:
        job_type: The type it defines.
        version: A number of the application's own, positive.
        max_attempts: How often a job may be tried, at least 1.
        default_timeout: How long one attempt may take, in whole seconds.
        default_priority: Higher runs first; may be negative.
        is_enabled: Whether jobs of the type can be enqueued. Jobs already enqueued run all the same.
        paused_at: Since when its jobs wait and none is claimed, as it was read; ``None`` while the type is not
            paused. Writing a definition leaves that as it is.
        catalog_scope: The catalog that owns the type, as it was read, or ``None``. Only a sync writes it.

    Raises:
        InvalidArgumentError: A value breaks a rule; ``error.field`` names it.
        BlankJobTypeError: The job type is blank.
    """

    job_type: str
    version: int = 1
    max_attempts: int = 8
    default_timeout: timedelta = timedelta(seconds=900)
    default_priority: int = 100
    is_enabled: bool = True
    paused_at: datetime | None = None
    catalog_scope: str | None = None

    def __post_init__(self) -> None:
        check_identifier(self.job_type, field="job_type", blank_error=BlankJobTypeError)
        check_int32("version", self.version, minimum=1)
        check_int32("max_attempts", self.max_attempts, minimum=1)
        check_whole_seconds("default_timeout", self.default_timeout)
        check_int32("default_priority", self.default_priority)
        _check_is_enabled(self.is_enabled)

    @property
    def default_timeout_seconds(self) -> int:
        """The default timeout as the database has it."""
        return int(self.default_timeout.total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseIdentity:
    """Which lease a lifecycle write claims to hold.

    Every part must match the stored row, and the lease must not have expired.

    Attributes:
        job_id: The job.
        run_number: The run of the job.
        attempt: The attempt within the run.
        worker_id: The worker that claimed it.
    """

    job_id: UUID
    run_number: int
    attempt: int
    worker_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job as its claim returned it.

    Payload and checkpoint are kept as text and decoded at each access, since a worker may hold hundreds of
    claimed jobs and a handler needs one of them at a time: keep the value, not the property.

    Attributes:
        job_id: The job.
        job_type: The type of the job.
        organization_id: The tenant that it belongs to, or ``None``.
        payload_json: The payload as JSON text.
        run_number: The run of the job.
        attempt: The attempt that the claim began.
        max_attempts: How many attempts the run has.
        timeout_seconds: How long the attempt may take.
        priority: The priority it was claimed by.
        next_run_at: When it was due.
        checkpoint_json: What an earlier attempt saved, as JSON text, or ``None``.
        worker_id: The worker that claimed it.
        leased_at: When it was claimed, by the clock of the database.
        lease_expires_at: When the lease ends unless it is renewed, by the clock of the database.
        workflow_run_id: The run of the workflow whose step it carries out, or ``None``.
        workflow_step_id: That step, or ``None``.
        workflow_step_key: The key of that step, or ``None``.
        workflow_dependent_count: How many steps wait for that step; 1,001 stands for any number above a thousand.
    """

    job_id: UUID
    job_type: str
    organization_id: UUID | None
    payload_json: str = field(repr=False)
    run_number: int
    attempt: int
    max_attempts: int
    timeout_seconds: int
    priority: int
    next_run_at: datetime
    checkpoint_json: str | None = field(repr=False)
    worker_id: str
    leased_at: datetime
    lease_expires_at: datetime
    workflow_run_id: UUID | None = None
    workflow_step_id: UUID | None = None
    workflow_step_key: str | None = None
    workflow_dependent_count: int = 0

    @property
    def lease(self) -> LeaseIdentity:
        """What the lifecycle writes of this attempt must name."""
        return LeaseIdentity(
            job_id=self.job_id, run_number=self.run_number, attempt=self.attempt, worker_id=self.worker_id
        )

    @property
    def payload(self) -> JsonValue:
        """The payload, decoded anew.

        Raises:
            UndecodableJsonError: Python cannot read it.
        """
        return decode_json(self.payload_json)

    @property
    def checkpoint(self) -> JsonValue | None:
        """The checkpoint, decoded anew, or ``None``.

        Raises:
            UndecodableJsonError: Python cannot read it.
        """
        return None if self.checkpoint_json is None else decode_json(self.checkpoint_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as it is stored.

    Attributes:
        id: The job.
        job_type: The type of the job.
        organization_id: The tenant that it belongs to, or ``None``.
        payload: What was enqueued.
        status: Its status.
        priority: Higher runs first.
        run_number: 1, and one more with each requeue.
        attempt: The current or last attempt of the run; 0 before the first claim.
        max_attempts: How many attempts the run has.
        timeout_seconds: How long one attempt may take.
        next_run_at: When it is due.
        lease_expires_at: When its lease ends; only while LEASED.
        last_heartbeat_at: When the lease was last renewed; only while LEASED.
        worker_id: The worker that holds the lease; only while LEASED.
        started_at: The first claim of the run.
        finished_at: When it reached a terminal status.
        stage: What it is doing, or did last.
        progress_done: How many units are done.
        progress_total: How many units there are.
        progress_pct: The two as a percentage with two decimals; absent when either is, or when the total is
            zero.
        checkpoint: What an attempt of this run saved; ``None`` too when it saved JSON null.
        output: What the handler returned.
        idempotency_key: The key it was enqueued with.
        status_reason: Why it has its status.
        last_error_code: Code of the last failure.
        last_error_message: Message of the last failure.
        workflow_step_id: The step that it belongs to, or ``None``.
        canceled_lease_expires_at: End of the lease that a cancel cut short: until then its handler may still
            run.
        created_at: When it was enqueued.
        updated_at: When the row last changed.
    """

    id: UUID
    job_type: str
    organization_id: UUID | None
    payload: JsonValue = field(repr=False)
    status: JobStatus
    priority: int
    run_number: int
    attempt: int
    max_attempts: int
    timeout_seconds: int
    next_run_at: datetime
    lease_expires_at: datetime | None
    last_heartbeat_at: datetime | None
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    stage: str
    progress_done: int | None
    progress_total: int | None
    progress_pct: Decimal | None
    checkpoint: JsonValue | None = field(repr=False)
    output: JsonValue | None = field(repr=False)
    idempotency_key: str | None = field(repr=False)
    status_reason: str | None
    last_error_code: str | None
    last_error_message: str | None = field(repr=False)
    workflow_step_id: UUID | None
    canceled_lease_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAttempt:
    """One claim of a job and how it ended.

    Attributes:
        job_id: The job.
        run_number: The run of the job.
        attempt: The attempt within the run, from 1.
        worker_id: The worker that claimed it.
        claim_origin: How it was claimed.
        leased_at: When it was claimed.
        started_at: When it was claimed, too: the start of its duration.
        execution_started_persisted_at: When the start of the handler was recorded.
        finished_at: When it ended; absent while it is open.
        outcome: How it failed; absent while it is open, after a success and after a cancel.
        error_code: Code of the failure.
        error_message: Message of the failure.
        retry_delay_ms: The delay before the next attempt; only when a retry was scheduled.
    """

    job_id: UUID
    run_number: int
    attempt: int
    worker_id: str
    claim_origin: JobClaimOrigin
    leased_at: datetime
    started_at: datetime
    execution_started_persisted_at: datetime | None
    finished_at: datetime | None
    outcome: JobFailureKind | None
    error_code: str | None
    error_message: str | None = field(repr=False)
    retry_delay_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """An entry of a job's history.

    Attributes:
        id: Cursor for paging: later entries of a job have greater ids.
        job_id: The job.
        run_number: The run it happened in; a requeue belongs to the run that it ends.
        attempt: The attempt it happened in, or ``None`` outside of one.
        event_type: What happened.
        stage: The stage that it set, or ``None``.
        progress_done: The count that a progress update named.
        progress_total: The total that it named.
        payload: More about it; which members there are depends on the type.
        occurred_at: When it happened.
    """

    id: int
    job_id: UUID
    run_number: int
    attempt: int | None
    event_type: JobEventType
    stage: str | None
    progress_done: int | None
    progress_total: int | None
    payload: JsonValue = field(repr=False)
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLog:
    """A line of a job's log.

    Attributes:
        id: Cursor for paging: later lines of a job have greater ids.
        job_id: The job.
        run_number: The run it was written in.
        attempt: The attempt it was written in, or ``None``.
        level: How important it is, such as ``"INFO"``.
        message: What happened.
        payload: More about it. One that Python cannot read is an object with ``runledger_undecodable`` and the reason.
        occurred_at: When it was written, by the database's clock and give or take the milliseconds that sending took:
            the order of lines is that of their ids.
    """

    id: int
    job_id: UUID
    run_number: int
    attempt: int | None
    level: str
    message: str = field(repr=False)
    payload: JsonValue = field(repr=False)
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDeadLetter:
    """The latest dead letter of a job; it outlives a requeue.

    Attributes:
        job_id: The job.
        job_type: The type of the job.
        organization_id: The tenant that it belongs to, or ``None``.
        run_number: The run that was given up.
        attempt: The attempt that failed last.
        error_code: Code of that failure.
        error_message: Message of that failure.
        payload_snapshot: The payload at that time.
        checkpoint_snapshot: The checkpoint at that time.
        failed_at: When it was given up.
    """

    job_id: UUID
    job_type: str
    organization_id: UUID | None
    run_number: int
    attempt: int
    error_code: str | None
    error_message: str | None = field(repr=False)
    payload_snapshot: JsonValue = field(repr=False)
    checkpoint_snapshot: JsonValue | None = field(repr=False)
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRuntimeConfig:
    """Settings of a job type that change while workers run.

    Attributes:
        job_type: The type.
        schema_version: A number of the application's own, for changes of its form.
        config_json: The settings, an object, as JSON text.
        updated_by_user_id: Who changed it last, where that was said.
        created_at: When it was stored first.
        updated_at: When it was changed last.
    """

    job_type: str
    schema_version: int
    config_json: str = field(repr=False)
    updated_by_user_id: UUID | None
    created_at: datetime
    updated_at: datetime

    @property
    def config(self) -> JsonValue:
        """The settings, decoded anew.

        Raises:
            UndecodableJsonError: Python cannot read them.
        """
        return decode_json(self.config_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPayload:
    """A job's payload, found by something else than the job's id.

    Attributes:
        job_id: The job.
        payload: What was enqueued.
    """

    job_id: UUID
    payload: JsonValue = field(repr=False)


def _check_is_enabled(value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidArgumentError("is_enabled", f"is of type {type(value).__name__}", "pass True or False")
