"""Operations on the table of live workers. A worker's heartbeat is :func:`runledger.postgres.jobs.heartbeat_worker`."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.workers import WorkerIdentity, WorkerRecord
from runledger.postgres.document import (
    check_duration,
    check_limit,
    check_now,
    encode_document,
    milliseconds,
    text_filters,
    worker_fields,
)
from runledger.postgres.jobs.lease import check_lease_ttl
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_worker
from runledger.postgres.sql_files import SqlFile

__all__ = ["list_workers", "register_worker", "remove_dead_workers", "remove_worker"]

_REGISTER = SqlFile("workers", "register_worker")
_REMOVE = SqlFile("workers", "remove_worker")
_REMOVE_DEAD = SqlFile("workers", "remove_dead_workers")
_LIST = SqlFile("workers", "list_workers")


@operation("workers.register_worker")
def register_worker(
    worker: WorkerIdentity,
    *,
    lease_ttl: timedelta,
    replaces_instance_id: UUID | None = None,
    now: datetime | None = None,
) -> Steps[datetime | None]:
    """Take a worker id and return when that was, or ``None`` while a live worker has the id.

    Args:
        worker: The worker that starts.
        lease_ttl: How long it counts as live without a heartbeat.
        replaces_instance_id: A process that is known to be dead, whose id may be taken before it expires.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        InvalidArgumentError: The time is shorter than a millisecond, or longer than seven days.
    """
    check_lease_ttl(lease_ttl)
    check_now(now)
    document = encode_document(
        **worker_fields(worker),
        lease_ttl_ms=milliseconds(lease_ttl),
        replaces_instance_id=replaces_instance_id,
        now=now,
    )
    rows = yield Statement(sql=_REGISTER, document=document, is_only=True)
    return rows[0]["started_at"] if rows else None


@operation("workers.remove_worker")
def remove_worker(worker_id: str, instance_id: UUID) -> Steps[bool]:
    """Forget a worker that has stopped, and tell whether the id was its own."""
    document = encode_document(worker_id=worker_id, instance_id=instance_id)
    rows = yield Statement(sql=_REMOVE, document=document, is_only=True)
    return bool(rows)


@operation("workers.remove_dead_workers")
def remove_dead_workers(*, dead_for: timedelta, now: datetime | None = None) -> Steps[list[str]]:
    """Forget the workers that expired longer ago than this, and return their ids."""
    check_duration("dead_for", dead_for)
    check_now(now)
    document = encode_document(dead_for_ms=milliseconds(dead_for), now=now)
    rows = yield Statement(sql=_REMOVE_DEAD, document=document, is_only=True)
    return [row["worker_id"] for row in rows]


@operation("workers.list_workers")
def list_workers(
    *,
    worker_id: str | None = None,
    claims_job_type: str | None = None,
    after_worker_id: str | None = None,
    limit: int = 1_000,
    now: datetime | None = None,
) -> Steps[list[WorkerRecord]]:
    """Return workers in the order of their ids. Those that died lately are among them, with ``is_live`` false.

    Args:
        worker_id: Only the worker with this id.
        claims_job_type: Only those that claim jobs of this type: live ones that serve it and are not stopping.
        after_worker_id: Only ids after this one; the last of the page before.
        limit: The most rows to return.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_limit(limit)
    check_now(now)
    document = encode_document(
        **text_filters(worker_id=worker_id, claims_job_type=claims_job_type, after_worker_id=after_worker_id),
        limit=limit,
        now=now,
    )
    rows = yield Statement(sql=_LIST, document=document, is_only=True)
    return [decode_worker(row) for row in rows]
