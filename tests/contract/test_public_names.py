"""The names that applications import. A change here is a change for them: it needs a line in the changelog."""

from types import ModuleType

import pytest

from runledger import core, postgres
from runledger.postgres import admin, catalogs, jobs, schedules, workers, workflows

PUBLIC_NAMES: dict[ModuleType, str] = {
    core: """
        Admin BlankJobTypeError BlankStepKeyError BlankWorkflowTypeError CancellationNotQuiesced CatalogDeclaration
        CatalogSyncMode CatchUp ClaimedJob CompletedGate ConfigError CronDialect CronExpression DeadLetterDecision
        DeadLetterPage DeadLetterSummary DeclaresCatalog EnqueueRequest EnqueuedStep EventPage ExpectationMismatch
        FailureDecision FirePlan Global InvalidArgumentError InvalidCronError JobAttempt JobClaimOrigin JobContext
        JobCount JobDeadLetter JobDeadLetterInfo JobDeadLetterReason JobDefinition JobEvent JobEventType JobFailure
        JobFailureKind JobHandler JobLog JobMetrics JobMetricsReport JobPage JobPayload JobProgress JobRecord
        JobRuntimeConfig JobStage JobStatus JobSummary JobType JsonEncodable JsonValue Kept LeaseIdentity Organization
        Overlap PayloadEdit PayloadMismatchError PayloadNotFound PayloadRejected PayloadRejection PayloadUpdated
        RequeueOutcome Requeued RetryDecision RunledgerError ScheduleChanges ScheduleOwner ScheduleRecord
        ScheduleRequest Scope StepCounts StepKey TailedEvent UndecodableJsonError UnknownStoredTextError
        WorkerIdentity WorkerRecord Workflow WorkflowAppend WorkflowAppendOutcome WorkflowAppendResult
        WorkflowBuildError WorkflowDagBuilder WorkflowDependencyReleaseMode WorkflowPrerequisite WorkflowRunEnqueue
        WorkflowRunEnqueueBuilder WorkflowRunFailedError WorkflowRunRecord WorkflowRunStatus WorkflowStepDependency
        WorkflowStepDependencySpec WorkflowStepEnqueue WorkflowStepEnqueueBuilder WorkflowStepExecutionKind
        WorkflowStepHandle WorkflowStepRecord WorkflowStepStatus WorkflowType clean_error_text decide_failure
        decode_json encode_json fire_jitter first_fire_at next_fire parse_cron plan_fires previous_fire retry_delay
        run_status_of validate_workflow_append validate_workflow_dag validate_workflow_run_enqueue
        validate_workflow_step
    """,
    postgres: """
        ConstraintClassifier DEFAULT_SCHEMA Database DatabaseConnectionError ErrorClass IdempotencyCheck
        IncompatibleSchemaError
        LegacyIdempotencySnapshotsMissingError MIGRATOR Migration Migrator MissingMigrationHistoryError Operation
        QueryError QueryErrorCategory SchemaCompatibilityError SchemaProblem Statement admin catalogs
        ensure_schema_compatible_after_idempotency_cutover jobs migrate_after_idempotency_cutover run run_sync
        schedules workers workflows
    """,
    jobs: """
        AttemptFailure AttemptOutcome ClaimPosition ClaimedBatch JobLogLine JobProgressUpdate JobSuccess ReapResult
        ReapedDeadLetter WorkerHeartbeat cancel_job claim_batch claim_jobs claim_prestart_jobs compare_and_requeue_job
        complete_job complete_jobs confirm_attempt_outcome delete_job_runtime_config enqueue_job enqueue_jobs fail_job
        fail_jobs get_dead_letter get_job get_job_by_idempotency_key get_job_definition
        get_job_payload_by_idempotency_key get_job_runtime_config get_latest_job_payload_for_run
        get_required_job_runtime_config heartbeat_job heartbeat_worker insert_job_logs
        insert_job_runtime_config_if_missing insert_missing_job_definitions list_due_job_ids list_job_attempts
        list_job_definitions list_job_events list_job_logs list_job_runtime_configs list_worker_leases
        read_attempt_outcomes read_canceled_leases read_held_leases reap_expired_leases release_unstarted_job_claim
        renew_leases requeue_job return_claims update_job_definition update_job_payload_uuid_array_field
        update_job_progress update_progress_of_jobs upsert_job_definitions upsert_job_runtime_config
    """,
    admin: """
        count_jobs edit_job_payload find_newest_event_cursor get_job_metrics get_job_summaries list_dead_letters
        list_jobs pause_job_type read_events_after resume_job_type
    """,
    workflows: """
        WorkflowAppendRequest append_workflow_steps append_workflow_steps_of_job cancel_workflow_run
        complete_external_workflow_step enqueue_workflow_run get_latest_workflow_run_by_type get_workflow_run_by_id
        get_workflow_run_by_type_and_idempotency_key get_workflow_run_id_for_job list_enqueued_workflow_steps
        list_workflow_runs list_workflow_step_dependencies list_workflow_step_keys_for_update list_workflow_steps
        read_prerequisites
        update_workflow_step_and_pending_job_payload
    """,
    schedules: """
        AbsentSchedules CatalogSync DeferredSchedule FireResult FiredSchedule activate_schedule delete_schedule
        fire_due_schedules get_schedule list_schedules pause_schedule read_next_fire set_schedule_next_fire
        sync_catalog_schedules update_schedule upsert_schedule
    """,
    catalogs: "CatalogSyncResult sync_catalog",
    workers: "list_workers register_worker remove_dead_workers remove_worker",
}


@pytest.mark.parametrize("module", PUBLIC_NAMES, ids=lambda module: module.__name__)
def test_a_package_offers_the_names_of_this_list_and_no_others(module: ModuleType) -> None:
    names: list[str] = module.__all__

    assert sorted(names) == sorted(PUBLIC_NAMES[module].split())
    assert all(hasattr(module, name) for name in names)
