"""Leases: keep them, and ask whether they are still held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.workers import WorkerIdentity
from runledger.postgres.document import (
    check_duration,
    check_now,
    lease_document,
    milliseconds,
    worker_fields,
)
from runledger.postgres.locks import lock_job
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import job_ids
from runledger.postgres.sql_errors import lease_owner_mismatch
from runledger.postgres.sql_files import SqlFile

_RENEW = SqlFile("jobs", "renew_leases")
_HEARTBEAT = SqlFile("jobs", "heartbeat_job")
_READ_HELD = SqlFile("jobs", "read_held_leases")
_READ_CANCELED = SqlFile("jobs", "read_canceled_leases")

LONGEST_LEASE = timedelta(days=7)
"""How long a lease may last without renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHeartbeat:
    """What a heartbeat did.

    Attributes:
        renewed_job_ids: The jobs whose lease was extended.
        is_registered: Whether the worker id is the worker's own; ``False`` when another live process has it.
    """

    renewed_job_ids: set[UUID]
    is_registered: bool


@operation("jobs.renew_leases")
def renew_leases(
    worker_id: str, leases: Sequence[LeaseIdentity], *, lease_ttl: timedelta, now: datetime | None = None
) -> Steps[set[UUID]]:
    """Extend many leases of one worker by the full time to live. Writes no event.

    Returns:
        The ids that were extended. The others are held no longer, or locked by another transaction:
        :func:`read_held_leases` tells which.
    """
    if not leases:
        return set()
    check_lease_ttl(lease_ttl)
    check_now(now)
    document = lease_document(worker_id, leases, now=now, lease_ttl_ms=milliseconds(lease_ttl))
    rows = yield Statement(sql=_RENEW, document=document, is_only=True)
    return job_ids(rows) - {None}


@operation("jobs.heartbeat_worker")
def heartbeat_worker(
    worker: WorkerIdentity,
    leases: Sequence[LeaseIdentity],
    *,
    lease_ttl: timedelta,
    started_at: datetime,
    is_stopping: bool = False,
    now: datetime | None = None,
) -> Steps[WorkerHeartbeat]:
    """Say that a worker lives, and extend its leases by the full time to live, in one statement.

    The leases as :func:`renew_leases`, whoever has the worker id. A row that is gone is written anew.

    Args:
        worker: The worker that is alive.
        leases: The leases that it holds; there may be none.
        lease_ttl: Time to live of the leases, and how long the worker counts as live from now on.
        started_at: When it was registered.
        is_stopping: Whether it claims no more.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_lease_ttl(lease_ttl)
    check_now(now)
    fields = worker_fields(worker)
    document = lease_document(
        fields.pop("worker_id"),
        leases,
        now=now,
        lease_ttl_ms=milliseconds(lease_ttl),
        started_at=started_at,
        is_stopping=True if is_stopping else None,
        **fields,
    )
    rows = yield Statement(sql=_RENEW, document=document, is_only=True)
    return WorkerHeartbeat(renewed_job_ids=job_ids(rows) - {None}, is_registered=rows[0]["is_registered"])


@operation("jobs.heartbeat_job")
def heartbeat_job(lease: LeaseIdentity, *, lease_ttl: timedelta, now: datetime | None = None) -> Steps[None]:
    """Extend one lease by the full time to live and write a HEARTBEAT event.

    Waits for the row lock; the expiry is judged after it.

    Raises:
        QueryError: ``job.lease_owner_mismatch``; nothing was written.
    """
    check_lease_ttl(lease_ttl)
    check_now(now)
    yield from lock_job(lease.job_id)
    document = lease_document(lease.worker_id, [lease], now=now, lease_ttl_ms=milliseconds(lease_ttl))
    rows = yield Statement(sql=_HEARTBEAT, document=document)
    if not rows:
        raise lease_owner_mismatch("jobs.heartbeat_job")


@operation("jobs.read_held_leases")
def read_held_leases(
    worker_id: str, leases: Sequence[LeaseIdentity], *, now: datetime | None = None
) -> Steps[set[UUID]]:
    """Return the ids of those leases that are still held, reading without a lock."""
    if not leases:
        return set()
    check_now(now)
    rows = yield Statement(sql=_READ_HELD, document=lease_document(worker_id, leases, now=now), is_only=True)
    return job_ids(rows)


@operation("jobs.read_canceled_leases")
def read_canceled_leases(worker_id: str, leases: Sequence[LeaseIdentity]) -> Steps[set[UUID]]:
    """Return the ids of those leases that a cancel of their job has ended; it says why a lease is lost."""
    if not leases:
        return set()
    rows = yield Statement(sql=_READ_CANCELED, document=lease_document(worker_id, leases), is_only=True)
    return job_ids(rows)


def check_lease_ttl(lease_ttl: timedelta) -> None:
    """Refuse a lease that would end as it begins, or that keeps a job with a dead holder for weeks.

    Raises:
        InvalidArgumentError: It is no duration, shorter than a millisecond, or longer than seven days.
    """
    check_duration("lease_ttl", lease_ttl)
    if milliseconds(lease_ttl) < 1:
        raise InvalidArgumentError("lease_ttl", "is not positive", "give the lease time to be renewed, such as 60 s")
    if lease_ttl > LONGEST_LEASE:
        raise InvalidArgumentError("lease_ttl", "is longer than 7 days", "renew the lease while its job runs")
