"""Operations on jobs: definitions, enqueue, claim, lease, complete, fail, return, reap, read."""

from runledger.postgres.jobs.claim import claim_jobs, list_due_job_ids, list_worker_leases, return_claims
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
from runledger.postgres.jobs.lease import heartbeat_job, read_held_leases, renew_leases
from runledger.postgres.jobs.reads import (
    get_dead_letter,
    get_job,
    get_job_by_idempotency_key,
    get_job_payload_by_idempotency_key,
    list_job_attempts,
    list_job_events,
)
from runledger.postgres.jobs.reaping import ReapedDeadLetter, ReapResult, reap_expired_leases

__all__ = [
    "AttemptFailure",
    "JobSuccess",
    "ReapResult",
    "ReapedDeadLetter",
    "claim_jobs",
    "complete_job",
    "complete_jobs",
    "enqueue_job",
    "enqueue_jobs",
    "fail_job",
    "fail_jobs",
    "get_dead_letter",
    "get_job",
    "get_job_by_idempotency_key",
    "get_job_definition",
    "get_job_payload_by_idempotency_key",
    "heartbeat_job",
    "insert_missing_job_definitions",
    "list_due_job_ids",
    "list_job_attempts",
    "list_job_definitions",
    "list_job_events",
    "list_worker_leases",
    "read_held_leases",
    "reap_expired_leases",
    "renew_leases",
    "return_claims",
    "update_job_definition",
    "upsert_job_definitions",
]
