"""What operations send is what the SQL files read; what the files return is what decoders read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from runledger.postgres import admin, catalogs, jobs, schedules, workers, workflows
from tests.contract.operation_cases import OPERATION_CASES
from tests.contract.recording import Exchange, drive
from tools.sql_lock.lock import read_lock

LOCK = read_lock()

UNREAD_COLUMNS: Mapping[str, set[str]] = {
    # A SELECT returns something; that it came back is all that matters.
    "connection/restore_lock_timeout": {"lock_timeout"},
    "connection/set_local_lock_timeout": {"lock_timeout"},
    "migrations/lock_migrations": {"locked"},
    "jobs/lock_job": {"job_id"},
    "jobs/heartbeat_job": {"job_id"},
    "workers/remove_worker": {"worker_id"},
    "admin/resume_job_type": {"is_notified"},
    "jobs/cancel_job": {"job_id", "is_notified"},
    "jobs/requeue_job": {"job_id", "is_notified"},
    "runtime_configs/insert_job_runtime_config_if_missing": {"job_type"},
    "runtime_configs/delete_job_runtime_config": {"job_type"},
    "jobs/update_job_payload_uuid_array_field": {"job_id"},
    # For people who run the file by hand; the operation knows how many it sent.
    "jobs/enqueue_jobs": {"enqueued_count", "is_notified"},
    "jobs/enqueue_keyed_jobs": {"is_notified"},
    "connection/send_notices": {"is_sent", "synchronous_commit"},
    "workflows/end_workflow_steps": {"is_notified", "notified_run_count"},
    "workflows/cancel_workflow_run": {"is_notified", "notified_run_count"},
    "workflows/insert_workflow_steps": {"is_notified"},
    "workflows/lock_workflow_run_jobs": {"job_count"},
    "workflows/lock_workflow_job": {"job_count", "lock_timeout"},
    "workflows/check_append_lease": {"job_id"},
    "workflows/update_workflow_step_payload": {"step_id"},
    # Read by a refusal, which no case may end with.
    "definitions/list_types_in_active_schedules": {"job_type"},
    "schedules/pause_schedule": {"schedule_id"},
    "schedules/set_schedule_next_fire": {"schedule_id"},
    "schedules/delete_schedule": {"schedule_id"},
}


@pytest.fixture(scope="module", name="exchanges")
def exchanges_by_file() -> dict[str, list[Exchange]]:
    by_file: dict[str, list[Exchange]] = {file: [] for file in LOCK}
    for operation in OPERATION_CASES:
        for refuse_guarded in (False, True):
            for exchange in drive(operation, LOCK, refuse_guarded=refuse_guarded):
                by_file[exchange.file].append(exchange)
    return by_file


def test_every_public_operation_has_a_case_and_is_named_as_its_function() -> None:
    functions = {
        f"{package}.{name}"
        for package, module in (
            ("catalogs", catalogs),
            ("jobs", jobs),
            ("admin", admin),
            ("schedules", schedules),
            ("workers", workers),
            ("workflows", workflows),
        )
        for name in module.__all__
        if not isinstance(getattr(module, name), type)
    }

    others = {
        "notices.send_notices",
        "schema.migrate_after_idempotency_cutover",
        "schema.ensure_schema_compatible_after_idempotency_cutover",
        "schema.ensure_schema_serves",
    }
    assert {operation.name for operation in OPERATION_CASES} == functions | others


@pytest.mark.parametrize("file", sorted(LOCK))
def test_the_fields_that_operations_send_are_the_fields_that_the_file_reads(
    file: str, exchanges: dict[str, list[Exchange]]
) -> None:
    sent = {field for exchange in exchanges[file] for field in exchange.document_fields}

    assert exchanges[file], "no case runs this file"
    assert sent == set(LOCK[file].document)


@pytest.mark.parametrize("file", sorted(LOCK))
def test_the_columns_that_decoders_read_are_the_columns_that_the_file_returns(
    file: str, exchanges: dict[str, list[Exchange]]
) -> None:
    read = {column for exchange in exchanges[file] for row in exchange.rows for column in row.read_columns}

    assert read == set(LOCK[file].columns) - UNREAD_COLUMNS.get(file, set())
