"""Rules and records of Runledger: no I/O, no clock, no randomness. The same input gives the same answer.

Layout, lowest first; a module imports only from lines above its own:

- ``errors``: the error tree, drawn there.
- ``database_text``: what PostgreSQL cannot store as text.
- ``identifiers``, ``stored_text``, ``scope``: names, stored enumerations, whose rows are seen.
- ``json_form``, ``json_value``: what JSON has, what stands for the rest, and the way to text and back.
- ``json_shape``, ``json_annotation``: from an annotation to the values that it allows.
- ``jobs.status``, ``workflows.status``: states, what each means, and the permitted transitions as data.
- ``jobs.setting_checks``: the rules for numbers, durations and stages.
- ``jobs.enqueue_request``, ``jobs.records``, ``jobs.requeue_outcome``, ``jobs.handler``: what goes in, what comes
  back, what applications write.
- ``workers``: who runs jobs.
- ``workflows.enqueue_request``, ``workflows.build_error``, ``workflows.graph_validation``: runs and steps as they are
  asked for, and whether they make a workflow.
- ``workflows.builder``, ``workflows.dag_builder``, ``workflows.workflow``: three ways to write them down.
- ``workflows.canonical_request``: what is compared when a request comes again.
- ``workflows.step_release``, ``workflows.run_outcome``: when a step can begin, and where a run stands.
- ``workflows.records``: runs, steps and dependencies as they are stored.
- ``jobs.failure_text``, ``jobs.failure_decision``, ``jobs.retry_policy``: what becomes of a failure.
- ``schedules.cron_expression``, ``schedules.matching_times``, ``schedules.next_fire``: from an expression to local
  times, and to the instants of a zone.
- ``schedules.jitter``, ``schedules.catch_up``: which of them a schedule fires, and when.
- ``schedules.schedule``: schedules as they are asked for, and as they are stored.
"""

from runledger.core.catalog import CatalogDeclaration, CatalogSyncMode, DeclaresCatalog
from runledger.core.errors import (
    BlankJobTypeError,
    BlankStepKeyError,
    BlankWorkflowTypeError,
    ConfigError,
    InvalidArgumentError,
    InvalidCronError,
    PayloadMismatchError,
    RunledgerError,
    UndecodableJsonError,
    UnknownStoredTextError,
    WorkflowRunFailedError,
)
from runledger.core.identifiers import JobType, StepKey, WorkflowType
from runledger.core.jobs.enqueue_request import EnqueueRequest
from runledger.core.jobs.event_tail import EventPage, TailedEvent
from runledger.core.jobs.failure_decision import (
    DeadLetterDecision,
    FailureDecision,
    RetryDecision,
    decide_failure,
)
from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo, JobFailure, JobHandler, JobProgress
from runledger.core.jobs.payload_edit import (
    PayloadEdit,
    PayloadNotFound,
    PayloadRejected,
    PayloadRejection,
    PayloadUpdated,
)
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
from runledger.core.jobs.requeue_outcome import (
    CancellationNotQuiesced,
    ExpectationMismatch,
    Requeued,
    RequeueOutcome,
)
from runledger.core.jobs.retry_policy import retry_delay
from runledger.core.jobs.status import (
    JobClaimOrigin,
    JobDeadLetterReason,
    JobEventType,
    JobFailureKind,
    JobStage,
    JobStatus,
)
from runledger.core.jobs.summaries import (
    DeadLetterPage,
    DeadLetterSummary,
    JobCount,
    JobMetrics,
    JobMetricsReport,
    JobPage,
    JobSummary,
)
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue, decode_json, encode_json
from runledger.core.schedules.catch_up import CatchUp, FirePlan, first_fire_at, plan_fires
from runledger.core.schedules.cron_expression import CronDialect, CronExpression, parse_cron
from runledger.core.schedules.jitter import fire_jitter
from runledger.core.schedules.next_fire import next_fire, previous_fire
from runledger.core.schedules.schedule import (
    Kept,
    Overlap,
    ScheduleChanges,
    ScheduleOwner,
    ScheduleRecord,
    ScheduleRequest,
)
from runledger.core.scope import Admin, Global, Organization, Scope
from runledger.core.workers import WorkerIdentity, WorkerRecord
from runledger.core.workflows.build_error import WorkflowBuildError
from runledger.core.workflows.builder import WorkflowRunEnqueueBuilder, WorkflowStepEnqueueBuilder
from runledger.core.workflows.dag_builder import WorkflowDagBuilder
from runledger.core.workflows.enqueue_request import (
    WorkflowRunEnqueue,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.graph_validation import (
    validate_workflow_append,
    validate_workflow_dag,
    validate_workflow_run_enqueue,
    validate_workflow_step,
)
from runledger.core.workflows.records import (
    CompletedGate,
    EnqueuedStep,
    WorkflowAppendOutcome,
    WorkflowAppendResult,
    WorkflowPrerequisite,
    WorkflowRunRecord,
    WorkflowStepDependency,
    WorkflowStepRecord,
)
from runledger.core.workflows.run_outcome import StepCounts, run_status_of
from runledger.core.workflows.status import (
    WorkflowDependencyReleaseMode,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.core.workflows.workflow import Workflow, WorkflowAppend, WorkflowStepHandle

__all__ = [
    "Admin",
    "BlankJobTypeError",
    "BlankStepKeyError",
    "BlankWorkflowTypeError",
    "CancellationNotQuiesced",
    "CatalogDeclaration",
    "CatalogSyncMode",
    "CatchUp",
    "ClaimedJob",
    "CompletedGate",
    "ConfigError",
    "CronDialect",
    "CronExpression",
    "DeadLetterDecision",
    "DeadLetterPage",
    "DeadLetterSummary",
    "DeclaresCatalog",
    "EnqueueRequest",
    "EnqueuedStep",
    "EventPage",
    "ExpectationMismatch",
    "FailureDecision",
    "FirePlan",
    "Global",
    "InvalidArgumentError",
    "InvalidCronError",
    "JobAttempt",
    "JobClaimOrigin",
    "JobContext",
    "JobCount",
    "JobDeadLetter",
    "JobDeadLetterInfo",
    "JobDeadLetterReason",
    "JobDefinition",
    "JobEvent",
    "JobEventType",
    "JobFailure",
    "JobFailureKind",
    "JobHandler",
    "JobLog",
    "JobMetrics",
    "JobMetricsReport",
    "JobPage",
    "JobPayload",
    "JobProgress",
    "JobRecord",
    "JobRuntimeConfig",
    "JobStage",
    "JobStatus",
    "JobSummary",
    "JobType",
    "JsonEncodable",
    "JsonValue",
    "Kept",
    "LeaseIdentity",
    "Organization",
    "Overlap",
    "PayloadEdit",
    "PayloadMismatchError",
    "PayloadNotFound",
    "PayloadRejected",
    "PayloadRejection",
    "PayloadUpdated",
    "RequeueOutcome",
    "Requeued",
    "RetryDecision",
    "RunledgerError",
    "ScheduleChanges",
    "ScheduleOwner",
    "ScheduleRecord",
    "ScheduleRequest",
    "Scope",
    "StepCounts",
    "StepKey",
    "TailedEvent",
    "UndecodableJsonError",
    "UnknownStoredTextError",
    "WorkerIdentity",
    "WorkerRecord",
    "Workflow",
    "WorkflowAppend",
    "WorkflowAppendOutcome",
    "WorkflowAppendResult",
    "WorkflowBuildError",
    "WorkflowDagBuilder",
    "WorkflowDependencyReleaseMode",
    "WorkflowPrerequisite",
    "WorkflowRunEnqueue",
    "WorkflowRunEnqueueBuilder",
    "WorkflowRunFailedError",
    "WorkflowRunRecord",
    "WorkflowRunStatus",
    "WorkflowStepDependency",
    "WorkflowStepDependencySpec",
    "WorkflowStepEnqueue",
    "WorkflowStepEnqueueBuilder",
    "WorkflowStepExecutionKind",
    "WorkflowStepHandle",
    "WorkflowStepRecord",
    "WorkflowStepStatus",
    "WorkflowType",
    "clean_error_text",
    "decide_failure",
    "decode_json",
    "encode_json",
    "fire_jitter",
    "first_fire_at",
    "next_fire",
    "parse_cron",
    "plan_fires",
    "previous_fire",
    "retry_delay",
    "run_status_of",
    "validate_workflow_append",
    "validate_workflow_dag",
    "validate_workflow_run_enqueue",
    "validate_workflow_step",
]
