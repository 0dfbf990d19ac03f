"""The names that applications import. A change here is a change for them: it needs a line in the changelog."""

from types import ModuleType

import pytest

from runledger import core, postgres
from runledger.postgres import jobs

PUBLIC_NAMES: dict[ModuleType, str] = {
    core: """
        Admin BlankJobTypeError BlankStepKeyError BlankWorkflowTypeError ClaimedJob ConfigError DeadLetterDecision
        EnqueueRequest FailureDecision Global InvalidArgumentError JobAttempt JobClaimOrigin JobContext JobDeadLetter
        JobDeadLetterInfo JobDeadLetterReason JobDefinition JobEvent JobEventType JobFailure JobFailureKind JobHandler
        JobProgress JobRecord JobStage JobStatus JobType JsonValue LeaseIdentity Organization RetryDecision
        RunledgerError Scope StepKey UndecodableJsonError UnknownStoredTextError WorkflowDependencyReleaseMode
        WorkflowRunStatus WorkflowStepExecutionKind WorkflowStepStatus WorkflowType clean_error_text decide_failure
        decode_json encode_json retry_delay
    """,
    postgres: """
        ConstraintClassifier DEFAULT_SCHEMA Database DatabaseConnectionError ErrorClass MIGRATOR Migration Migrator
        Operation QueryError QueryErrorCategory SchemaCompatibilityError SchemaProblem Statement jobs migrate run
        run_sync
    """,
    jobs: """
        AttemptFailure JobSuccess ReapResult ReapedDeadLetter claim_jobs complete_job complete_jobs enqueue_job
        enqueue_jobs fail_job fail_jobs get_dead_letter get_job get_job_by_idempotency_key
        get_job_definition get_job_payload_by_idempotency_key heartbeat_job
        insert_missing_job_definitions list_due_job_ids list_job_attempts list_job_definitions list_job_events
        list_worker_leases read_held_leases reap_expired_leases renew_leases return_claims update_job_definition
        upsert_job_definitions
    """,
}


@pytest.mark.parametrize("module", PUBLIC_NAMES, ids=lambda module: module.__name__)
def test_a_package_offers_the_names_of_this_list_and_no_others(module: ModuleType) -> None:
    names: list[str] = module.__all__

    assert sorted(names) == sorted(PUBLIC_NAMES[module].split())
    assert all(hasattr(module, name) for name in names)
