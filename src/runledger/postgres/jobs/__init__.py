"""Operations on jobs.

Definitions, enqueue, claim, lease, progress, complete, fail, cancel, requeue, reap, logs, runtime configs, reads.
"""

from runledger.postgres.jobs.attempt_outcome import AttemptOutcome, confirm_attempt_outcome, read_attempt_outcomes
from runledger.postgres.jobs.cancellation import cancel_job
from runledger.postgres.jobs.claim import (
    ClaimedBatch,
    ClaimPosition,
    claim_batch,
    claim_jobs,
    claim_prestart_jobs,
    list_due_job_ids,
    list_worker_leases,
    release_unstarted_job_claim,
    return_claims,
)
from runledger.postgres.jobs.completion import JobSuccess, complete_job, complete_jobs
from runledger.postgres.jobs.definitions import (
    get_job_definition,
    insert_missing_job_definitions,
    list_job_definitions,
    update_job_definition,
    upsert_job_definitions,
)
from runledger.postgres.jobs.enqueue import enqueue_job, enqueue_jobs
from runledger.postgres.jobs.failure import AttemptFailure, fail_job, fail_jobs
from runledger.postgres.jobs.lease import (
    WorkerHeartbeat,
    heartbeat_job,
    heartbeat_worker,
    read_canceled_leases,
    read_held_leases,
    renew_leases,
)
from runledger.postgres.jobs.logs import JobLogLine, insert_job_logs, list_job_logs
from runledger.postgres.jobs.payloads import (
    get_job_payload_by_idempotency_key,
    get_latest_job_payload_for_run,
    update_job_payload_uuid_array_field,
)
from runledger.postgres.jobs.progress import JobProgressUpdate, update_job_progress, update_progress_of_jobs
from runledger.postgres.jobs.reads import (
    get_dead_letter,
    get_job,
    get_job_by_idempotency_key,
    list_job_attempts,
    list_job_events,
)
from runledger.postgres.jobs.reaping import ReapedDeadLetter, ReapResult, reap_expired_leases
from runledger.postgres.jobs.requeue import compare_and_requeue_job, requeue_job
from runledger.postgres.jobs.runtime_configs import (
    delete_job_runtime_config,
    get_job_runtime_config,
    get_required_job_runtime_config,
    insert_job_runtime_config_if_missing,
    list_job_runtime_configs,
    upsert_job_runtime_config,
)

__all__ = [
    "AttemptFailure",
    "AttemptOutcome",
    "ClaimPosition",
    "ClaimedBatch",
    "JobLogLine",
    "JobProgressUpdate",
    "JobSuccess",
    "ReapResult",
    "ReapedDeadLetter",
    "WorkerHeartbeat",
    "cancel_job",
    "claim_batch",
    "claim_jobs",
    "claim_prestart_jobs",
    "compare_and_requeue_job",
    "complete_job",
    "complete_jobs",
    "confirm_attempt_outcome",
    "delete_job_runtime_config",
    "enqueue_job",
    "enqueue_jobs",
    "fail_job",
    "fail_jobs",
    "get_dead_letter",
    "get_job",
    "get_job_by_idempotency_key",
    "get_job_definition",
    "get_job_payload_by_idempotency_key",
    "get_job_runtime_config",
    "get_latest_job_payload_for_run",
    "get_required_job_runtime_config",
    "heartbeat_job",
    "heartbeat_worker",
    "insert_job_logs",
    "insert_job_runtime_config_if_missing",
    "insert_missing_job_definitions",
    "list_due_job_ids",
    "list_job_attempts",
    "list_job_definitions",
    "list_job_events",
    "list_job_logs",
    "list_job_runtime_configs",
    "list_worker_leases",
    "read_attempt_outcomes",
    "read_canceled_leases",
    "read_held_leases",
    "reap_expired_leases",
    "release_unstarted_job_claim",
    "renew_leases",
    "requeue_job",
    "return_claims",
    "update_job_definition",
    "update_job_payload_uuid_array_field",
    "update_job_progress",
    "update_progress_of_jobs",
    "upsert_job_definitions",
    "upsert_job_runtime_config",
]
