"""Every operation with arguments that make it send every field it can send.

An operation may stand here more than once, since some arguments exclude each other.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from runledger.core import (
    Admin,
    CatalogDeclaration,
    CatalogSyncMode,
    CatchUp,
    EnqueueRequest,
    Global,
    JobClaimOrigin,
    JobDefinition,
    JobFailureKind,
    JobProgress,
    JobStatus,
    LeaseIdentity,
    Organization,
    Overlap,
    ScheduleChanges,
    ScheduleRequest,
    WorkerIdentity,
    Workflow,
    WorkflowAppend,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.postgres import (
    Operation,
    admin,
    catalogs,
    ensure_schema_compatible_after_idempotency_cutover,
    jobs,
    migrate_after_idempotency_cutover,
    schedules,
    workers,
    workflows,
)
from runledger.postgres.compatibility import ensure_schema_serves
from runledger.postgres.notices import Notices, send_notices

_NOTICES = Notices(is_sent_inside=True)

JOB_ID = UUID("0198c0de-0000-7000-8000-000000000001")
"""The job of every case, and the uuid in every row that a case is given."""

OTHER_ID = UUID("0198c0de-0000-7000-8000-000000000002")
"""The id of another row, where a case needs two."""

_NOW = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)
_TTL = timedelta(seconds=60)
_WORKER = "worker-1"
_ORGANIZATION = UUID("0198c0de-0000-7000-8000-0000000000aa")
_LEASE = LeaseIdentity(job_id=JOB_ID, run_number=1, attempt=1, worker_id=_WORKER)
_IDENTITY = WorkerIdentity(
    worker_id=_WORKER,
    instance_id=JOB_ID,
    hostname="host-1",
    process_id=17,
    version="1.0",
    job_types=("email.send",),
    slots=8,
)
_DEFINITION = JobDefinition(job_type="email.send")
_SUCCESS = jobs.JobSuccess(lease=_LEASE, output_json='{"sent":1}')
_FAILURE = jobs.AttemptFailure(
    lease=_LEASE, kind=JobFailureKind.RETRYABLE, error_code="smtp.busy", error_message="try later", retry_delay=_TTL
)
_PROGRESS = jobs.JobProgressUpdate(
    lease=_LEASE,
    progress=JobProgress(stage="sending", progress_done=1, progress_total=2, checkpoint={"page": 1}),
)
_LOG_LINE = jobs.JobLogLine(job_id=JOB_ID, attempt=1, level="INFO", message="sent", payload={"page": 1})
_REQUEST_DUE_AT = EnqueueRequest(
    "email.send",
    {"to": "a@example.org"},
    organization_id=_ORGANIZATION,
    priority=5,
    max_attempts=3,
    timeout=_TTL,
    run_at=_NOW,
    stage="draft",
)
_REQUEST_DUE_IN = EnqueueRequest("email.send", None, run_in=_TTL)
_KEYED_REQUEST = dataclasses.replace(_REQUEST_DUE_AT, idempotency_key="order-17")
_KEYED_REQUEST_DUE_IN = dataclasses.replace(_REQUEST_DUE_IN, idempotency_key="order-18")
# The names say how the statements are answered, see recording.
_SCHEDULE = ScheduleRequest(name="stored", job_type="email.send", cron_expr="0 3 * * *", organization_id=_ORGANIZATION)
_NEW_SCHEDULE = dataclasses.replace(_SCHEDULE, name="new")
_CATALOG_SCHEDULES = [dataclasses.replace(_SCHEDULE, name="catalog's"), _NEW_SCHEDULE]
_CATALOG = CatalogDeclaration(scope="shop", definitions=(_DEFINITION,), schedules=tuple(_CATALOG_SCHEDULES))


def _run(idempotency_key: str | None) -> WorkflowRunEnqueue:
    flow = Workflow("release", metadata={"of": 1}, organization_id=_ORGANIZATION, idempotency_key=idempotency_key)
    found = flow.job(
        "find", "release.find", {"of": 1}, organization_id=_ORGANIZATION, priority=5, max_attempts=3, timeout=_TTL
    )
    flow.result_step(flow.gate("approve", after=found))
    return flow.build()


def _append() -> workflows.WorkflowAppendRequest:
    more = WorkflowAppend()
    more.job("build", "release.build", after_terminal=more.existing("1"))
    return workflows.WorkflowAppendRequest(
        mutation_key="packages", window_step_key="1", steps=more.build(), metadata={"by": "find"}
    )


OPERATION_CASES: tuple[Operation[Any], ...] = (
    send_notices(['{"job_types":["email.send"]}'], ended_run_ids=[JOB_ID]),
    migrate_after_idempotency_cutover(),
    ensure_schema_compatible_after_idempotency_cutover(),
    ensure_schema_serves(),
    jobs.upsert_job_definitions([_DEFINITION]),
    jobs.insert_missing_job_definitions([_DEFINITION]),
    jobs.get_job_definition("email.send"),
    jobs.list_job_definitions(job_type_contains="mail", limit=10, offset=5),
    jobs.update_job_definition(
        "email.send", max_attempts=3, default_timeout=_TTL, default_priority=7, is_enabled=False
    ),
    jobs.upsert_job_definitions([dataclasses.replace(_DEFINITION, is_enabled=False)]),
    jobs.upsert_job_runtime_config("email.send", {"host": "a"}, schema_version=2, updated_by_user_id=JOB_ID),
    jobs.insert_job_runtime_config_if_missing("email.send", {"host": "a"}, updated_by_user_id=JOB_ID),
    jobs.get_job_runtime_config("email.send"),
    jobs.get_required_job_runtime_config("email.send"),
    jobs.list_job_runtime_configs(job_type="email.send", limit=10, offset=5),
    jobs.delete_job_runtime_config("email.send"),
    jobs.enqueue_job(_REQUEST_DUE_AT, notices=_NOTICES, now=_NOW),
    jobs.enqueue_jobs([_REQUEST_DUE_AT, _REQUEST_DUE_IN], notices=_NOTICES, now=_NOW),
    jobs.enqueue_jobs([_KEYED_REQUEST, _KEYED_REQUEST_DUE_IN], notices=_NOTICES, now=_NOW),
    jobs.claim_jobs(
        _WORKER,
        lease_ttl=_TTL,
        limit=10,
        job_types=["email.send"],
        claim_origin=JobClaimOrigin.WORKER_PRESTART,
        is_start=True,
        now=_NOW,
    ),
    jobs.claim_batch(
        _WORKER,
        lease_ttl=_TTL,
        limit=10,
        job_types=["email.send"],
        excluded_job_ids=[JOB_ID],
        max_payload_bytes=1_000,
        after=jobs.ClaimPosition(watermark=_NOW, priority=100, next_run_at=_NOW, job_id=JOB_ID),
        claim_id=JOB_ID,
        now=_NOW,
    ),
    jobs.claim_prestart_jobs(_WORKER, lease_ttl=_TTL, limit=10, job_types=["email.send"], now=_NOW),
    jobs.release_unstarted_job_claim(_LEASE, reason="QUEUE_FULL", retry_delay=_TTL, now=_NOW),
    jobs.list_due_job_ids(limit=10, job_types=["email.send"], excluded_job_ids=[JOB_ID], now=_NOW),
    jobs.return_claims(_WORKER, [_LEASE], reason="SHUTDOWN", retry_delay=_TTL, now=_NOW),
    jobs.list_worker_leases(_WORKER, claim_ids=[JOB_ID], now=_NOW),
    jobs.renew_leases(_WORKER, [_LEASE], lease_ttl=_TTL, now=_NOW),
    jobs.heartbeat_worker(_IDENTITY, [_LEASE], lease_ttl=_TTL, started_at=_NOW, is_stopping=True, now=_NOW),
    jobs.heartbeat_job(_LEASE, lease_ttl=_TTL, now=_NOW),
    jobs.read_held_leases(_WORKER, [_LEASE], now=_NOW),
    jobs.read_canceled_leases(_WORKER, [_LEASE]),
    jobs.update_progress_of_jobs(_WORKER, [_PROGRESS], now=_NOW),
    jobs.update_job_progress(_PROGRESS, lock_timeout=_TTL, now=_NOW),
    jobs.read_attempt_outcomes(_WORKER, [_LEASE]),
    jobs.confirm_attempt_outcome(_LEASE, lock_timeout=_TTL),
    jobs.complete_jobs(_WORKER, [_SUCCESS], notices=_NOTICES, now=_NOW),
    jobs.complete_job(_SUCCESS, lock_timeout=_TTL, idle_timeout=_TTL, notices=_NOTICES, now=_NOW),
    jobs.fail_jobs(_WORKER, [_FAILURE], notices=_NOTICES, now=_NOW),
    jobs.fail_job(_FAILURE, lock_timeout=_TTL, notices=_NOTICES, now=_NOW),
    jobs.reap_expired_leases(limit=2, retry_delay=_TTL, notices=_NOTICES, now=_NOW),
    jobs.cancel_job(JOB_ID, scope=Organization(_ORGANIZATION), reason="obsolete", notices=_NOTICES, now=_NOW),
    jobs.requeue_job(JOB_ID, scope=Organization(_ORGANIZATION), reason="repaired", notices=_NOTICES, now=_NOW),
    jobs.compare_and_requeue_job(
        JOB_ID,
        scope=Organization(_ORGANIZATION),
        expected_status=JobStatus.CANCELED,
        expected_run_number=1,
        reason="repaired",
        keeps_progress=True,
        notices=_NOTICES,
        now=_NOW,
    ),
    jobs.get_job_payload_by_idempotency_key(_ORGANIZATION, "email.send", "order-17"),
    jobs.get_latest_job_payload_for_run(_ORGANIZATION, "email.send", JOB_ID),
    jobs.update_job_payload_uuid_array_field(
        _ORGANIZATION, JOB_ID, "email.send", field="documents", uuids=[JOB_ID], now=_NOW
    ),
    jobs.get_job(JOB_ID, scope=Organization(_ORGANIZATION)),
    jobs.get_job(JOB_ID, scope=Admin()),
    jobs.get_job_by_idempotency_key("email.send", "order-17", scope=Organization(_ORGANIZATION)),
    jobs.list_job_events(JOB_ID, scope=Organization(_ORGANIZATION), limit=10, after_id=5),
    jobs.insert_job_logs([_LOG_LINE], now=_NOW),
    jobs.list_job_logs(JOB_ID, scope=Organization(_ORGANIZATION), limit=10, after_id=5),
    jobs.list_job_attempts(JOB_ID, scope=Organization(_ORGANIZATION)),
    jobs.list_job_attempts(JOB_ID, scope=Global()),
    jobs.get_dead_letter(JOB_ID, scope=Organization(_ORGANIZATION)),
    workflows.enqueue_workflow_run(_run(None), notices=_NOTICES, now=_NOW),
    workflows.enqueue_workflow_run(_run("order-17"), notices=_NOTICES, now=_NOW),
    workflows.append_workflow_steps(JOB_ID, _append(), scope=Organization(_ORGANIZATION), notices=_NOTICES, now=_NOW),
    workflows.append_workflow_steps_of_job(JOB_ID, _append(), _LEASE, notices=_NOTICES, now=_NOW),
    workflows.complete_external_workflow_step(
        JOB_ID,
        "build",
        scope=Organization(_ORGANIZATION),
        status=WorkflowStepStatus.FAILED,
        output={"by": "me"},
        reason="no",
        error_code="review.refused",
        error_message="not now",
        notices=_NOTICES,
        now=_NOW,
    ),
    workflows.cancel_workflow_run(
        JOB_ID,
        scope=Organization(_ORGANIZATION),
        reason="obsolete",
        error_code="order.withdrawn",
        error_message="not needed",
        notices=_NOTICES,
        now=_NOW,
    ),
    workflows.list_workflow_step_keys_for_update(JOB_ID, scope=Organization(_ORGANIZATION)),
    workflows.update_workflow_step_and_pending_job_payload(
        JOB_ID, "1", {"of": 2}, scope=Organization(_ORGANIZATION), now=_NOW
    ),
    workflows.get_workflow_run_by_id(JOB_ID, scope=Organization(_ORGANIZATION)),
    workflows.list_workflow_runs(
        scope=Organization(_ORGANIZATION),
        status=WorkflowRunStatus.RUNNING,
        workflow_type_contains="rel",
        limit=10,
        before_run_id=JOB_ID,
    ),
    workflows.list_workflow_runs(
        scope=Organization(_ORGANIZATION),
        status=WorkflowRunStatus.RUNNING,
        workflow_type_contains="rel",
        has_waiting_gate=True,
        limit=10,
        before_run_id=JOB_ID,
    ),
    workflows.get_latest_workflow_run_by_type("release", scope=Organization(_ORGANIZATION)),
    workflows.get_workflow_run_by_type_and_idempotency_key("release", "k", scope=Organization(_ORGANIZATION)),
    workflows.list_workflow_steps(
        JOB_ID,
        scope=Organization(_ORGANIZATION),
        status=WorkflowStepStatus.FAILED,
        limit=10,
        after_step_id=JOB_ID,
    ),
    workflows.list_enqueued_workflow_steps(JOB_ID, scope=Organization(_ORGANIZATION), now=_NOW),
    workflows.list_workflow_step_dependencies(JOB_ID, scope=Organization(_ORGANIZATION)),
    workflows.get_workflow_run_id_for_job(JOB_ID, scope=Organization(_ORGANIZATION)),
    workflows.read_prerequisites(JOB_ID, JOB_ID),
    *(
        admin.list_jobs(
            scope=Organization(_ORGANIZATION),
            status=status,
            job_type="email.send",
            job_type_contains="mail",
            limit=10,
        )
        for status in (JobStatus.SUCCEEDED, JobStatus.PENDING, JobStatus.CANCELED)
    ),
    admin.get_job_summaries([JOB_ID], scope=Organization(_ORGANIZATION)),
    admin.count_jobs(
        scope=Organization(_ORGANIZATION),
        status=JobStatus.SUCCEEDED,
        job_type="email.send",
        job_type_contains="mail",
    ),
    admin.list_dead_letters(
        scope=Organization(_ORGANIZATION), job_type="email.send", job_type_contains="mail", limit=10
    ),
    admin.get_job_metrics(scope=Organization(_ORGANIZATION), job_type="email.send", window=_TTL, now=_NOW),
    admin.edit_job_payload(
        JOB_ID,
        scope=Organization(_ORGANIZATION),
        members={"to": "a"},
        removed=["cc"],
        lock_timeout=_TTL,
        now=_NOW,
    ),
    admin.read_events_after("AAAAAAAAAAUAAAAAAAAABQAAAAAAAAAHAAAAAAAAAAk", limit=10),
    admin.find_newest_event_cursor(),
    admin.pause_job_type("email.send", now=_NOW),
    admin.resume_job_type("email.send", notices=_NOTICES, now=_NOW),
    workers.register_worker(_IDENTITY, lease_ttl=_TTL, replaces_instance_id=JOB_ID, now=_NOW),
    workers.remove_worker(_WORKER, JOB_ID),
    workers.remove_dead_workers(dead_for=_TTL, now=_NOW),
    workers.list_workers(worker_id=_WORKER, claims_job_type="email.send", after_worker_id="a", limit=10, now=_NOW),
    schedules.upsert_schedule(_SCHEDULE, scope=Organization(_ORGANIZATION), now=_NOW),
    schedules.upsert_schedule(_NEW_SCHEDULE, scope=Admin(), now=_NOW),
    schedules.update_schedule(
        "stored",
        ScheduleChanges(
            job_type="email.send",
            cron_expr="0 4 * * *",
            payload_template=None,
            timezone="Europe/Berlin",
            max_jitter=_TTL,
            catch_up=CatchUp.ALL,
            catch_up_limit=7,
            overlap=Overlap.SKIP,
        ),
        scope=Organization(_ORGANIZATION),
        now=_NOW,
    ),
    schedules.sync_catalog_schedules("shop", _CATALOG_SCHEDULES, absent=schedules.AbsentSchedules.PAUSE, now=_NOW),
    schedules.sync_catalog_schedules("shop", _CATALOG_SCHEDULES, absent=schedules.AbsentSchedules.DELETE),
    catalogs.sync_catalog(_CATALOG),
    catalogs.sync_catalog(_CATALOG, mode=CatalogSyncMode.EXACT, keeps_enabled=False, now=_NOW),
    schedules.get_schedule("stored", scope=Organization(_ORGANIZATION)),
    schedules.list_schedules(
        scope=Organization(_ORGANIZATION), name_contains="o", job_type="email.send", after_name="a", limit=10
    ),
    schedules.pause_schedule("stored", scope=Organization(_ORGANIZATION)),
    schedules.activate_schedule("paused", scope=Organization(_ORGANIZATION), now=_NOW),
    schedules.set_schedule_next_fire("stored", _NOW, scope=Organization(_ORGANIZATION), now=_NOW),
    schedules.delete_schedule("stored", scope=Organization(_ORGANIZATION)),
    schedules.fire_due_schedules(limit=10, grace=_TTL, now=_NOW),
    schedules.read_next_fire(now=_NOW),
)
