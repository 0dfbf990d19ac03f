"""Claim: a worker leases due jobs; and the way back for claims whose handler was never called."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.database_text import unstorable_text_problem
from runledger.core.errors import InvalidArgumentError
from runledger.core.item_checks import check_items
from runledger.core.jobs.records import ClaimedJob, LeaseIdentity
from runledger.core.jobs.setting_checks import check_reason
from runledger.core.jobs.status import JobClaimOrigin
from runledger.postgres.document import (
    check_duration,
    check_limit,
    check_now,
    encode_document,
    lease_document,
    milliseconds,
    retry_delay_milliseconds,
)
from runledger.postgres.jobs.lease import check_lease_ttl
from runledger.postgres.locks import lock_job
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_claimed_job, decode_lease, job_ids
from runledger.postgres.sql_errors import QueryErrorCategory, lease_owner_mismatch, refusal
from runledger.postgres.sql_files import SqlFile

# By how many types each merges. For more types than the last, and for any, its branches of any type do the work.
_CLAIMS = {count: SqlFile("jobs", "claim_jobs", copies=count) for count in (1, 4, 16)}
_LIST_DUE = SqlFile("jobs", "list_due_job_ids")
_RETURN = SqlFile("jobs", "return_claims")
_RELEASE = SqlFile("jobs", "release_unstarted_job_claim")
_LIST_WORKER_LEASES = SqlFile("jobs", "list_worker_leases")

# A job is due when its transaction began, and there to be claimed when it commits. A watermark so long in the past lets
# those come in that take no longer.
_LATE_COMMIT = timedelta(milliseconds=200)
_MOMENT = timedelta(microseconds=1)
_LOWEST_PRIORITY = -(2**31)
_NO_JOB = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPosition:
    """Where a claim ended, so that the next one need not read again what was claimed.

    Before it nothing was waiting that the claim could see and lock. What was locked then, or is committed later with an
    earlier due time, lies behind the position and is found by a claim without one.

    Attributes:
        watermark: Of higher priorities everything due until this instant was claimed.
        priority: The priority of the last claimed job. Lower ones were not looked at.
        next_run_at: Of that priority everything due before this instant was claimed. It is the due time of the last
            claimed job, or the watermark if that comes before.
        job_id: Of those due at that instant everything up to this id was claimed.
    """

    watermark: datetime
    priority: int
    next_run_at: datetime
    job_id: UUID

    def before(self, due_at: datetime) -> ClaimPosition:
        """Return the position that leaves nothing behind which is due from an instant on."""
        limit = due_at - _MOMENT
        is_behind = limit < self.next_run_at
        return ClaimPosition(
            watermark=min(self.watermark, limit),
            priority=self.priority,
            next_run_at=limit if is_behind else self.next_run_at,
            job_id=_NO_JOB if is_behind else self.job_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedBatch:
    """What a claim brought, and where the next one may begin.

    Attributes:
        jobs: The jobs, in the order in which they should start.
        due_count: How many due jobs it locked: those, and what ``max_payload_bytes`` left. Fewer than the limit, and
            nothing else was due.
        position: The position at which the claim ended.
    """

    jobs: list[ClaimedJob]
    due_count: int
    position: ClaimPosition


@operation("jobs.claim_jobs")
def claim_jobs(
    worker_id: str,
    *,
    lease_ttl: timedelta,
    limit: int,
    job_types: Sequence[str] | None = None,
    claim_origin: JobClaimOrigin = JobClaimOrigin.DIRECT,
    is_start: bool = False,
    now: datetime | None = None,
) -> Steps[list[ClaimedJob]]:
    """Lease due PENDING jobs to a worker: highest priority first, then the one due longest.

    Args:
        worker_id: The worker that claims; unique among live workers.
        lease_ttl: How long the lease lasts without renewal.
        limit: The most jobs to claim.
        job_types: Only these types; ``None`` is any type, an empty sequence gives nothing and asks nothing.
        claim_origin: What the attempt records as its origin.
        is_start: Whether the caller starts every job at once. Stage ``running`` and the started marker are written in
            the same statement, so an expired lease counts as an attempt.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        The jobs, in the order in which they should start.
    """
    job_types = _listed(job_types)
    _check_claim(worker_id, limit=limit, lease_ttl=lease_ttl, now=now)
    if job_types is not None and not job_types:
        return []
    claim = claim_batch(
        worker_id,
        lease_ttl=lease_ttl,
        limit=limit,
        job_types=job_types,
        claim_origin=claim_origin,
        is_start=is_start,
        now=now,
    )
    batch = yield from claim.begin()
    return batch.jobs


@operation("jobs.claim_batch")
def claim_batch(
    worker_id: str,
    *,
    lease_ttl: timedelta,
    limit: int,
    job_types: Sequence[str] | None = None,
    claim_origin: JobClaimOrigin = JobClaimOrigin.WORKER_PRESTART,
    is_start: bool = True,
    excluded_job_ids: Collection[UUID] = (),
    max_payload_bytes: int | None = None,
    after: ClaimPosition | None = None,
    claim_id: UUID | None = None,
    now: datetime | None = None,
) -> Steps[ClaimedBatch]:
    """Claim as :func:`claim_jobs` does, for a worker that claims again and again.

    Args:
        worker_id: As for :func:`claim_jobs`.
        lease_ttl: As for :func:`claim_jobs`.
        limit: The most jobs to claim.
        job_types: Only these types, at least one; ``None`` is any type.
        claim_origin: What the attempt records as its origin.
        is_start: Whether the caller starts every job at once.
        excluded_job_ids: Jobs to leave where they are.
        max_payload_bytes: Claim no further job once the payloads of those before it have reached this size. The first
            is claimed whatever its size.
        after: Leave out what lies behind the end of an earlier claim for the same types. Its cost is then that of what
            it brings, also where an old snapshot keeps all that was ever claimed in the index.
        claim_id: Kept with the attempts, so that :func:`list_worker_leases` finds what this claim brought, should its
            answer be lost.
        now: Instant to use instead of the database's clock, for tests.
    """
    _check_claim(worker_id, limit=limit, lease_ttl=lease_ttl, now=now)
    if max_payload_bytes is not None:
        check_limit(max_payload_bytes, field="max_payload_bytes")
    document = encode_document(
        worker_id=worker_id,
        lease_ttl_ms=milliseconds(lease_ttl),
        limit=limit,
        job_types=None if job_types is None else list(job_types),
        claim_origin=claim_origin.value,
        is_start=is_start,
        excluded_job_ids=_id_texts(excluded_job_ids),
        max_payload_bytes=max_payload_bytes,
        after_watermark=None if after is None else after.watermark,
        after_priority=None if after is None else after.priority,
        after_next_run_at=None if after is None else after.next_run_at,
        after_job_id=None if after is None else str(after.job_id),
        claim_id=claim_id,
        now=now,
    )
    rows = yield Statement(sql=_claim_statement(job_types), document=document, is_only=True)
    claimed = [decode_claimed_job(row) for row in rows if row["job_id"] is not None]
    due_count = rows[0]["due_count"]
    has_rest = due_count == limit or len(claimed) < due_count
    position = _position(rows[0]["leased_at"], claimed[-1] if has_rest else None)
    return ClaimedBatch(jobs=claimed, due_count=due_count, position=position)


def _claim_statement(job_types: Sequence[str] | None) -> SqlFile:
    """Return the statement that merges as few types as it can: each costs some microseconds."""
    count = 0 if job_types is None else len(job_types)
    return next((statement for merged, statement in _CLAIMS.items() if count <= merged), _CLAIMS[1])


def _position(at: datetime, last: ClaimedJob | None) -> ClaimPosition:
    watermark = at - _LATE_COMMIT
    if last is None:
        return ClaimPosition(watermark=watermark, priority=_LOWEST_PRIORITY, next_run_at=watermark, job_id=_NO_JOB)
    if last.next_run_at > watermark:
        # Others that were due before it may not be committed yet.
        return ClaimPosition(watermark=watermark, priority=last.priority, next_run_at=watermark, job_id=_NO_JOB)
    return ClaimPosition(watermark=watermark, priority=last.priority, next_run_at=last.next_run_at, job_id=last.job_id)


@operation("jobs.claim_prestart_jobs")
def claim_prestart_jobs(
    worker_id: str,
    *,
    lease_ttl: timedelta,
    limit: int,
    job_types: Sequence[str] | None = None,
    now: datetime | None = None,
) -> Steps[list[ClaimedJob]]:
    """Claim as :func:`claim_jobs` does, for a host that starts what it claims later, or perhaps not.

    Stage ``running`` records the start (:func:`~runledger.postgres.jobs.progress.update_job_progress`). Until then the
    claim can be released without consuming the attempt (:func:`release_unstarted_job_claim`), and the reaper does just
    that when the lease expires.

    Args:
        worker_id: As for :func:`claim_jobs`.
        lease_ttl: How long the lease lasts without renewal; it begins now, not at the start.
        limit: The most jobs to claim.
        job_types: Only these types; ``None`` is any type, an empty sequence gives nothing and asks nothing.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        The jobs, in the order in which they should start.
    """
    claim = claim_jobs(
        worker_id,
        lease_ttl=lease_ttl,
        limit=limit,
        job_types=job_types,
        claim_origin=JobClaimOrigin.WORKER_PRESTART,
        now=now,
    )
    return (yield from claim.begin())


@operation("jobs.release_unstarted_job_claim")
def release_unstarted_job_claim(
    lease: LeaseIdentity, *, reason: str, retry_delay: timedelta = timedelta(), now: datetime | None = None
) -> Steps[None]:
    """Give back one claim of :func:`claim_prestart_jobs` that was not started. Its attempt is deleted, not consumed.

    Waits for the row lock.

    Args:
        lease: The claim.
        reason: Kept in the REQUEUED event.
        retry_delay: Time until the job is due again; negative counts as none.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: ``job.lease_owner_mismatch``: the job is leased, but not, or not any more, under this lease.
            ``job.unstarted_claim_release_not_applicable``: it is not leased, its start was recorded, or the claim was
            not made by :func:`claim_prestart_jobs`. Nothing was written.
    """
    check_reason("reason", reason)
    check_duration("retry_delay", retry_delay)
    check_now(now)
    yield from lock_job(lease.job_id)
    document = lease_document(
        lease.worker_id, [lease], now=now, reason=reason, retry_delay_ms=retry_delay_milliseconds(retry_delay)
    )
    rows = yield Statement(sql=_RELEASE, document=document)
    verdict = rows[0]["verdict"] if rows else "NOT_LEASED"
    if verdict == "NOT_HELD":
        raise lease_owner_mismatch("jobs.release_unstarted_job_claim")
    if verdict != "RELEASED":
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job.unstarted_claim_release_not_applicable",
            "only a claim of a worker whose start was not recorded can be released",
            internal=f"jobs.release_unstarted_job_claim: {verdict}",
        )


@operation("jobs.list_due_job_ids")
def list_due_job_ids(
    *,
    limit: int,
    job_types: Sequence[str] | None = None,
    excluded_job_ids: Collection[UUID] = (),
    now: datetime | None = None,
) -> Steps[list[UUID]]:
    """Return which jobs :func:`claim_jobs` would try next, in its order; those that others have locked as well.

    Args:
        limit: Ids at most.
        job_types: The types, as for the claim.
        excluded_job_ids: The jobs that are left out, as for the claim.
        now: Instant to use instead of the database's clock, for tests.
    """
    job_types = _listed(job_types)
    if job_types is not None and not job_types:
        return []
    check_limit(limit)
    check_now(now)
    document = encode_document(
        limit=limit,
        job_types=job_types,
        excluded_job_ids=_id_texts(excluded_job_ids),
        now=now,
    )
    rows = yield Statement(sql=_LIST_DUE, document=document, is_only=True)
    return [row["job_id"] for row in rows]


@operation("jobs.return_claims")
def return_claims(
    worker_id: str,
    leases: Sequence[LeaseIdentity],
    *,
    reason: str,
    retry_delay: timedelta = timedelta(),
    now: datetime | None = None,
) -> Steps[set[UUID]]:
    """Give back claims whose handler was never called. Their attempt is deleted and not consumed.

    Only the holder may do this, since only it knows that no handler ran.

    Args:
        worker_id: The holder.
        leases: The leases to give back.
        reason: Kept in the REQUEUED event.
        retry_delay: Time until the jobs are due again; negative counts as none.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        The ids that were returned. The others are held no longer, or locked by another transaction.
    """
    check_reason("reason", reason)
    check_duration("retry_delay", retry_delay)
    check_now(now)
    if not leases:
        return set()
    document = lease_document(
        worker_id, leases, now=now, reason=reason, retry_delay_ms=retry_delay_milliseconds(retry_delay)
    )
    rows = yield Statement(sql=_RETURN, document=document, is_only=True)
    return job_ids(rows)


@operation("jobs.list_worker_leases")
def list_worker_leases(
    worker_id: str, *, claim_ids: Collection[UUID] | None = None, now: datetime | None = None
) -> Steps[list[LeaseIdentity]]:
    """Return all live leases of a worker, to find those of a claim whose answer was lost.

    Args:
        worker_id: The worker.
        claim_ids: Only leases that these claims brought; all when not given.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_now(now)
    document = encode_document(
        worker_id=worker_id, claim_ids=None if claim_ids is None else [str(claim_id) for claim_id in claim_ids], now=now
    )
    rows = yield Statement(sql=_LIST_WORKER_LEASES, document=document, is_only=True)
    return [decode_lease(row) for row in rows]


def check_worker_id(worker_id: str) -> None:
    """Refuse a worker id that is no text, blank, or nothing that PostgreSQL can store.

    Raises:
        InvalidArgumentError: The id is one of these.
    """
    if not isinstance(worker_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("worker_id", f"is of type {type(worker_id).__name__}", "pass a str")
    problem = "is blank" if not worker_id.strip() else unstorable_text_problem(worker_id)
    if problem is not None:
        raise InvalidArgumentError("worker_id", problem, "name the worker, uniquely among live workers")


def _check_claim(worker_id: str, *, limit: int, lease_ttl: timedelta, now: datetime | None) -> None:
    check_worker_id(worker_id)
    check_limit(limit)
    check_lease_ttl(lease_ttl)
    check_now(now)


def _listed(job_types: Sequence[str] | None) -> list[str] | None:
    """Refuse a single job type in place of several: its letters would be types that nobody has."""
    if job_types is None:
        return None
    return list(check_items("job_types", job_types, str, remedy="pass a list of job types"))


def _id_texts(ids: Collection[UUID]) -> list[str] | None:
    return [str(job_id) for job_id in ids] or None
