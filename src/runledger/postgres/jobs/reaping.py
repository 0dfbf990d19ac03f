"""Reap: take expired leases away from workers that died or lost their way. The only way out of an expired lease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.json_value import JsonValue, decode_json
from runledger.postgres.document import (
    check_duration,
    check_limit,
    check_now,
    encode_document,
    retry_delay_milliseconds,
)
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.sql_errors import QueryError
from runledger.postgres.sql_files import SqlFile

_LIST_EXPIRED = SqlFile("jobs", "list_expired_leases")
_REAP = SqlFile("jobs", "reap_jobs")
_DEFER = SqlFile("jobs", "defer_reaping")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapedDeadLetter:
    """A job that the reaper dead-lettered, with what its hook needs."""

    job_id: UUID
    job_type: str
    organization_id: UUID | None
    run_number: int
    attempt: int
    max_attempts: int
    payload_json: str = field(repr=False)

    @property
    def payload(self) -> JsonValue:
        """The payload, decoded now."""
        return decode_json(self.payload_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapResult:
    """What one pass of the reaper did.

    Attributes:
        processed_count: Leases taken away.
        deferred_job_ids: Jobs whose row could not be processed; they stay LEASED and are tried again later.
        stuck_job_ids: Jobs whose row refused to be deferred as well; the next pass finds them again.
        dead_letters: The processed jobs that had no attempt left.
        is_full: As many leases were expired as the pass may take, so there may be more.
    """

    processed_count: int
    deferred_job_ids: tuple[UUID, ...]
    stuck_job_ids: tuple[UUID, ...]
    dead_letters: tuple[ReapedDeadLetter, ...]
    is_full: bool


@operation("jobs.reap_expired_leases")
def reap_expired_leases(*, limit: int, retry_delay: timedelta, now: datetime | None = None) -> Steps[ReapResult]:
    """Return expired leases to the queue, or dead-letter the jobs without attempts left.

    One transaction. A row that the database refuses is set apart by halving the batch: its lease is moved
    ``retry_delay`` into the future, where it stays LEASED and starves nobody.

    Args:
        limit: Leases at most.
        retry_delay: Time until a retried job is due, and until a refused row is tried again.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_limit(limit)
    check_duration("retry_delay", retry_delay)
    check_now(now)
    rows = yield Statement(sql=_LIST_EXPIRED, document=encode_document(limit=limit, now=now))
    found = [row["job_id"] for row in rows]
    reaped: list[Row] = []
    deferred: list[UUID] = []
    stuck: list[UUID] = []
    pending = [found] if found else []
    while pending:
        ids = pending.pop()
        try:
            reaped += yield Statement(sql=_REAP, document=_reap_document(ids, retry_delay, now), is_guarded=True)
        except QueryError:
            middle = len(ids) // 2
            if middle:
                pending += [ids[middle:], ids[:middle]]
            elif (yield from _defer(ids[0], retry_delay, now)):
                deferred += ids
            else:
                stuck += ids
    return ReapResult(
        processed_count=len(reaped),
        deferred_job_ids=tuple(deferred),
        stuck_job_ids=tuple(stuck),
        dead_letters=tuple(_dead_letter(row) for row in reaped if row["action"] == "DEAD_LETTER"),
        is_full=len(found) == limit,
    )


def _defer(job_id: UUID, retry_delay: timedelta, now: datetime | None) -> Steps[bool]:
    document = encode_document(job_id=job_id, retry_delay_ms=retry_delay_milliseconds(retry_delay), now=now)
    try:
        yield Statement(sql=_DEFER, document=document, is_guarded=True)
    except QueryError:
        return False  # It keeps its place in the window, but must not undo the others.
    return True


def _reap_document(ids: Sequence[UUID], retry_delay: timedelta, now: datetime | None) -> str:
    fields = {"job_ids": [str(job_id) for job_id in ids], "retry_delay_ms": retry_delay_milliseconds(retry_delay)}
    return json.dumps(fields | ({} if now is None else {"now": now.isoformat()}))


def _dead_letter(row: Row) -> ReapedDeadLetter:
    return ReapedDeadLetter(**{name: value for name, value in row.items() if name != "action"})
