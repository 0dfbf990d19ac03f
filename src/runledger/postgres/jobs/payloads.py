"""Payloads by what an application knows of a job: its idempotency key, or the run that the payload names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from runledger.core.database_text import check_text
from runledger.core.item_checks import check_items
from runledger.core.jobs.records import JobPayload
from runledger.core.scope import Organization
from runledger.postgres.document import check_now, check_uuid, encode_document
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_payload
from runledger.postgres.sql_files import SqlFile

_BY_KEY = SqlFile("jobs", "get_job_payload_by_idempotency_key")
_LATEST_FOR_RUN = SqlFile("jobs", "get_latest_job_payload_for_run")
_UPDATE_UUID_ARRAY = SqlFile("jobs", "update_job_payload_uuid_array_field")


@operation("jobs.get_job_payload_by_idempotency_key")
def get_job_payload_by_idempotency_key(
    organization_id: UUID, job_type: str, idempotency_key: str
) -> Steps[JobPayload | None]:
    """Return the payload of the job that an organization enqueued with a key, or ``None``.

    A job of no organization is never returned.
    """
    check_text("job_type", job_type)
    check_text("idempotency_key", idempotency_key)
    document = encode_document(
        organization_id=Organization(organization_id).organization_id,
        job_type=job_type,
        idempotency_key=idempotency_key,
    )
    rows = yield Statement(sql=_BY_KEY, document=document, is_only=True)
    return decode_payload(rows[0]) if rows else None


@operation("jobs.get_latest_job_payload_for_run")
def get_latest_job_payload_for_run(organization_id: UUID, job_type: str, run_id: UUID) -> Steps[JobPayload | None]:
    """Return the payload of the newest job of a type and organization whose member ``run_id`` is the id, or ``None``.

    Reads the whole table of jobs; not for a hot path.
    """
    check_text("job_type", job_type)
    check_uuid("run_id", run_id)
    document = encode_document(
        organization_id=Organization(organization_id).organization_id, job_type=job_type, run_id=run_id
    )
    rows = yield Statement(sql=_LATEST_FOR_RUN, document=document, is_only=True)
    return decode_payload(rows[0]) if rows else None


@operation("jobs.update_job_payload_uuid_array_field")
def update_job_payload_uuid_array_field(
    organization_id: UUID,
    job_id: UUID,
    job_type: str,
    *,
    field: str,
    uuids: Sequence[UUID],
    now: datetime | None = None,
) -> Steps[bool]:
    """Set one member of a job's payload to a list of uuids and tell whether there was such a job.

    The other members stay. Whatever the status: a handler that has begun has the old payload.

    Args:
        organization_id: The organization of the job.
        job_id: The job.
        job_type: The type of the job.
        field: The member; made when it is missing.
        uuids: The new value.
        now: Instant to use instead of the transaction's, for tests.

    Returns:
        ``False`` when there is no job of this type in the organization, or its payload is no object.
    """
    check_text("job_type", job_type)
    check_text("field", field)
    check_now(now)
    document = encode_document(
        organization_id=Organization(organization_id).organization_id,
        job_id=job_id,
        job_type=job_type,
        field=field,
        uuids=[str(uuid) for uuid in check_items("uuids", uuids, UUID, remedy="pass a list of uuid.UUID")],
        now=now,
    )
    rows = yield Statement(sql=_UPDATE_UUID_ARRAY, document=document, is_only=True)
    return bool(rows)
