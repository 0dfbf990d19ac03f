"""From rows to records. The one place that knows the column names of results."""

from __future__ import annotations

from dataclasses import fields as fields_of
from datetime import timedelta
from typing import Any
from uuid import UUID

from runledger.core.errors import UndecodableJsonError, UnknownStoredTextError
from runledger.core.jobs.event_tail import TailedEvent
from runledger.core.jobs.records import (
    ClaimedJob,
    JobAttempt,
    JobDeadLetter,
    JobDefinition,
    JobEvent,
    JobLog,
    JobPayload,
    JobRecord,
    JobRuntimeConfig,
    LeaseIdentity,
)
from runledger.core.jobs.status import JobClaimOrigin, JobEventType, JobFailureKind, JobStatus
from runledger.core.jobs.summaries import DeadLetterSummary, JobCount, JobMetrics, JobSummary
from runledger.core.json_value import JsonValue, decode_json
from runledger.core.schedules.catch_up import CatchUp
from runledger.core.schedules.schedule import Overlap, ScheduleOwner, ScheduleRecord
from runledger.core.workers import WorkerRecord
from runledger.core.workflows.records import (
    EnqueuedStep,
    WorkflowPrerequisite,
    WorkflowRunRecord,
    WorkflowStepDependency,
    WorkflowStepRecord,
)
from runledger.core.workflows.run_outcome import StepCounts
from runledger.core.workflows.status import (
    WorkflowDependencyReleaseMode,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.postgres.operation import Row
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal

_SUMMARY_FIELDS = tuple(member.name for member in fields_of(JobSummary))
_EVENT_COLUMNS = tuple("payload_json" if member.name == "payload" else member.name for member in fields_of(JobEvent))
_DEAD_LETTER_FIELDS = tuple(member.name for member in fields_of(DeadLetterSummary))


def decode_definition(row: Row) -> JobDefinition:
    """Return a row of ``job_definitions``."""
    return JobDefinition(
        job_type=row["job_type"],
        version=row["version"],
        max_attempts=row["max_attempts"],
        default_timeout=timedelta(seconds=row["default_timeout_seconds"]),
        default_priority=row["default_priority"],
        is_enabled=row["is_enabled"],
        paused_at=row["paused_at"],
        catalog_scope=row["catalog_scope"],
    )


def decode_claimed_job(row: Row) -> ClaimedJob:
    """Return a claimed job; its payload stays text until the handler asks for it."""
    fields = dict(row)
    del fields["due_count"]
    return ClaimedJob(**fields)


def decode_lease(row: Row) -> LeaseIdentity:
    """Return the identity of a lease."""
    return LeaseIdentity(**row)


def decode_job(row: Row) -> JobRecord:
    """Return a row of ``job_queue``."""
    fields = dict(row)
    fields["status"] = _stored(JobStatus, row["status"])
    for name in ("payload", "checkpoint", "output"):
        fields[name] = _json(fields.pop(f"{name}_json"))
    return JobRecord(**fields)


def decode_job_status(text: str) -> JobStatus:
    """Return the status that a row names."""
    return _stored(JobStatus, text)


def decode_payload(row: Row) -> JobPayload:
    """Return the payload of a job."""
    return JobPayload(job_id=row["job_id"], payload=_json(row["payload_json"]))


def decode_event(row: Row) -> JobEvent:
    """Return a row of ``job_events``."""
    fields = dict(row)
    fields["event_type"] = _stored(JobEventType, row["event_type"])
    fields["payload"] = _json(fields.pop("payload_json"))
    return JobEvent(**fields)


def decode_tailed_event(row: Row, *, cursor: str) -> TailedEvent:
    """Return a row of ``job_events`` with what its job tells."""
    event = decode_event({name: row[name] for name in _EVENT_COLUMNS})
    return TailedEvent(event=event, job_type=row["job_type"], organization_id=row["organization_id"], cursor=cursor)


def decode_log(row: Row) -> JobLog:
    """Return a row of ``job_logs``. A payload that cannot be read does not hide the line, nor the lines around it."""
    fields = dict(row)
    try:
        fields["payload"] = decode_json(fields.pop("payload_json"))
    except UndecodableJsonError as error:
        fields["payload"] = {"runledger_undecodable": str(error)}
    return JobLog(**fields)


def decode_attempt(row: Row) -> JobAttempt:
    """Return a row of ``job_attempts``."""
    fields = dict(row)
    fields["claim_origin"] = _stored(JobClaimOrigin, row["claim_origin"])
    fields["outcome"] = decode_failure_kind(row["outcome"])
    return JobAttempt(**fields)


def decode_dead_letter(row: Row) -> JobDeadLetter:
    """Return a row of ``job_dead_letters``."""
    fields = dict(row)
    for name in ("payload_snapshot", "checkpoint_snapshot"):
        fields[name] = _json(fields.pop(f"{name}_json"))
    return JobDeadLetter(**fields)


def decode_runtime_config(row: Row) -> JobRuntimeConfig:
    """Return a row of ``job_runtime_configs``; the config stays text until somebody asks for it."""
    return JobRuntimeConfig(**row)


def decode_job_summary(row: Row) -> JobSummary:
    """Return a row of ``job_queue`` without its JSON."""
    fields = {name: row[name] for name in _SUMMARY_FIELDS}
    fields["status"] = decode_job_status(row["status"])
    return JobSummary(**fields)


def decode_dead_letter_summary(row: Row) -> DeadLetterSummary:
    """Return a row of ``job_dead_letters`` without its snapshots."""
    return DeadLetterSummary(**{name: row[name] for name in _DEAD_LETTER_FIELDS})


def decode_job_metrics(row: Row, *, pending_limit: int) -> JobMetrics:
    """Return the metrics of a job type.

    Args:
        row: The row.
        pending_limit: How many jobs that wait were counted at most.
    """
    fields = dict(row)
    count = fields.pop("pending_count")
    return JobMetrics(
        pending=JobCount(count=min(count, pending_limit), is_exact=count <= pending_limit),
        **fields,
    )


def decode_worker(row: Row) -> WorkerRecord:
    """Return a row of ``job_workers``."""
    fields = dict(row)
    fields["job_types"] = tuple(row["job_types"])
    return WorkerRecord(**fields)


def decode_schedule(row: Row) -> ScheduleRecord:
    """Return a row of ``job_schedules``."""
    fields = dict(row)
    fields["max_jitter"] = timedelta(seconds=fields.pop("max_jitter_seconds"))
    for name, enum in (("catch_up", CatchUp), ("overlap", Overlap), ("owner", ScheduleOwner)):
        fields[name] = _stored(enum, row[name])
    return ScheduleRecord(**fields)


def decode_workflow_run(row: Row) -> WorkflowRunRecord:
    """Return a row of ``workflow_runs``."""
    fields = dict(row)
    fields["status"] = decode_run_status(row["status"])
    fields["step_counts"] = StepCounts(
        **{name: fields.pop(f"step_count_{name}") for name in ("total", "active", "waiting", "unsuccessful")}
    )
    fields["has_result"] = row["result_json"] is not None
    for name in ("metadata", "result"):
        fields[name] = _json(fields.pop(f"{name}_json"))
    return WorkflowRunRecord(**fields)


def decode_run_status(text: str) -> WorkflowRunStatus:
    """Return the status of a run that a row names."""
    return _stored(WorkflowRunStatus, text)


def decode_step_status(text: str) -> WorkflowStepStatus:
    """Return the status of a step that a row names."""
    return _stored(WorkflowStepStatus, text)


def decode_execution_kind(text: str) -> WorkflowStepExecutionKind:
    """Return the kind of a step that a row names."""
    return _stored(WorkflowStepExecutionKind, text)


def decode_workflow_step(row: Row) -> WorkflowStepRecord:
    """Return a row of ``workflow_steps``."""
    fields = dict(row)
    fields["execution_kind"] = decode_execution_kind(row["execution_kind"])
    fields["status"] = decode_step_status(row["status"])
    for name in ("payload", "output"):
        fields[name] = _json(fields.pop(f"{name}_json"))
    return WorkflowStepRecord(**fields)


def decode_enqueued_step(row: Row) -> EnqueuedStep:
    """Return what a step waits for whose job waits in the queue."""
    return EnqueuedStep(**row)


def decode_workflow_step_dependency(row: Row) -> WorkflowStepDependency:
    """Return a row of ``workflow_step_dependencies``."""
    fields = dict(row)
    fields["release_mode"] = _stored(WorkflowDependencyReleaseMode, row["release_mode"])
    return WorkflowStepDependency(**fields)


def decode_workflow_prerequisite(row: Row) -> WorkflowPrerequisite:
    """Return how a step ended that another one waited for."""
    fields = dict(row)
    fields["status"] = decode_step_status(row["status"])
    fields["output"] = _json(fields.pop("output_json"))
    return WorkflowPrerequisite(**fields)


def decode_failure_kind(text: str | None) -> JobFailureKind | None:
    """Return the kind of a failure; ``None`` where there is none."""
    return None if text is None else _stored(JobFailureKind, text)


def job_ids(rows: Any) -> set[UUID]:
    """Return the ``job_id`` column."""
    return {row["job_id"] for row in rows}


def _json(text: str | None) -> JsonValue:
    if text is None:
        return None
    try:
        return decode_json(text)
    except UndecodableJsonError as error:
        raise _undecodable(str(error)) from None


def _stored(enum: Any, text: str) -> Any:
    try:
        return enum.from_stored(text)
    except UnknownStoredTextError as error:
        raise _undecodable(str(error)) from None


def _undecodable(problem: str) -> QueryError:
    return refusal(
        QueryErrorCategory.INTERNAL,
        "db.row_undecodable",
        "the database holds a value that this version cannot read",
        internal=problem,
    )
