"""Reap: take expired leases away from workers that died or lost their way. The only way out of an expired lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.jobs.records import LeaseIdentity
from runledger.core.json_value import JsonValue, decode_json
from runledger.postgres.document import (
    check_duration,
    check_limit,
    check_now,
    encode_document,
    retry_delay_milliseconds,
)
from runledger.postgres.notices import Notices
from runledger.postgres.operation import Row, Rows, Statement, Steps, operation
from runledger.postgres.sql_errors import QueryError
from runledger.postgres.sql_files import PlainSql, SqlFile
from runledger.postgres.workflows.advance import TERMINAL_COMPLETION_ISOLATION, end_job_steps
from runledger.postgres.workflows.run_lock import try_lock_runs

_LIST_EXPIRED = SqlFile("jobs", "list_expired_leases")
_REAP = SqlFile("jobs", "reap_jobs")
_DEFER = SqlFile("jobs", "defer_reaping")
_SAVEPOINT = PlainSql("SAVEPOINT runledger_reap")
_ROLLBACK = PlainSql("ROLLBACK TO SAVEPOINT runledger_reap")

# Looks for expired leases in one pass, each behind the runs that the one before did not get.
_MAX_PAGES = 8

_NOT_OF_DEAD_LETTER = {"action", "worker_id", "workflow_step_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapedDeadLetter:
    """A job that the reaper dead-lettered, with what its hook needs."""

    job_id: UUID
    job_type: str
    organization_id: UUID | None
    run_number: int
    attempt: int
    max_attempts: int
    workflow_run_id: UUID | None
    workflow_step_key: str | None
    payload_json: str = field(repr=False)

    @property
    def payload(self) -> JsonValue:
        """The payload, decoded now."""
        return decode_json(self.payload_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapResult:
    """What one pass of the reaper did.

    Attributes:
        leases: Those taken away, with the workers that held them.
        deferred_job_ids: Jobs whose row could not be processed; they stay LEASED and are tried again later.
        stuck_job_ids: Jobs whose row refused to be deferred as well; the next pass finds them again.
        dead_letters: The processed jobs that had no attempt left.
        is_full: Whether as many leases were expired as the pass may take, so that there may be more.
    """

    leases: tuple[LeaseIdentity, ...]
    deferred_job_ids: tuple[UUID, ...]
    stuck_job_ids: tuple[UUID, ...]
    dead_letters: tuple[ReapedDeadLetter, ...]
    is_full: bool

    @property
    def processed_count(self) -> int:
        """How many leases were taken away."""
        return len(self.leases)


@operation("jobs.reap_expired_leases")
def reap_expired_leases(
    *, limit: int, retry_delay: timedelta, notices: Notices | None = None, now: datetime | None = None
) -> Steps[ReapResult]:
    """Return expired leases to the queue, or dead-letter the jobs without attempts left.

    One transaction. A row that the database refuses is set apart by halving the batch: its lease is moved
    ``retry_delay`` into the future, where it stays LEASED and starves nobody.

    The step of a workflow waits with its job for the next attempt, or ends with it. A dead letter whose run another
    transaction has locked is left to a later pass, and the leases that expired after it are taken all the same.

    Args:
        limit: The most leases to take away.
        retry_delay: Time until a retried job is due, and until a refused row is tried again.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_limit(limit)
    check_duration("retry_delay", retry_delay)
    check_now(now)
    rows, is_full = yield from _list_expired(limit, now)
    reaped: list[Row] = []
    deferred: list[UUID] = []
    stuck: list[UUID] = []
    plain = [row["job_id"] for row in rows if row["workflow_run_id"] is None]
    pending = [plain] if plain else []
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
    for job_id in [row["job_id"] for row in rows if row["workflow_run_id"] is not None]:
        try:
            reaped += yield from _reap_last_attempt(job_id, retry_delay, notices, now)
        except QueryError:
            if (yield from _defer(job_id, retry_delay, now)):
                deferred.append(job_id)
            else:
                stuck.append(job_id)
    return ReapResult(
        leases=tuple(_lease(row) for row in reaped),
        deferred_job_ids=tuple(deferred),
        stuck_job_ids=tuple(stuck),
        dead_letters=tuple(_dead_letter(row) for row in reaped if row["action"] == "DEAD_LETTER"),
        # What nothing could be done about is no reason to look again at once.
        is_full=is_full and len(reaped) + len(deferred) > 0,
    )


def _list_expired(limit: int, now: datetime | None) -> Steps[tuple[list[Row], bool]]:
    """Lock up to ``limit`` expired leases and the runs that end with them; tell if there may be more behind them.

    The locks of the jobs are held before their runs are known, so a run that somebody else has is not waited for. Its
    jobs are left, however many, and what expired after them takes their place, so that it hides nothing while it is
    kept. Where each look meets other runs that are kept, the pass ends after a few.
    """
    taken: list[Row] = []
    busy: set[UUID] = set()
    is_full = True
    for _ in range(_MAX_PAGES):
        document = encode_document(
            limit=limit - len(taken),
            busy_run_ids=[str(run_id) for run_id in busy] or None,
            taken_job_ids=[str(row["job_id"]) for row in taken] or None,
            now=now,
        )
        rows = yield Statement(sql=_LIST_EXPIRED, document=document)
        run_ids = {row["workflow_run_id"] for row in rows} - {None}
        if run_ids:
            busy |= run_ids - (yield from try_lock_runs(run_ids, isolation_code=TERMINAL_COMPLETION_ISOLATION))
        is_full = len(rows) == limit - len(taken)
        taken += [row for row in rows if row["workflow_run_id"] not in busy]
        if not is_full or len(taken) == limit:
            break
    return taken, is_full


def _reap_last_attempt(
    job_id: UUID, retry_delay: timedelta, notices: Notices | None, now: datetime | None
) -> Steps[Rows]:
    """Take away one lease with its step, or neither of them."""
    yield Statement(sql=_SAVEPOINT, document=None)
    try:
        document = _reap_document([job_id], retry_delay, now, ends_steps=True)
        rows = yield Statement(sql=_REAP, document=document, is_guarded=True)
        ended = [row["workflow_step_id"] for row in rows if row["action"] == "DEAD_LETTER"]
        if ended:
            yield from end_job_steps(ended, notices=notices, now=now, is_guarded=True)
    except QueryError:
        yield Statement(sql=_ROLLBACK, document=None)
        raise
    return rows


def _defer(job_id: UUID, retry_delay: timedelta, now: datetime | None) -> Steps[bool]:
    document = encode_document(job_id=job_id, retry_delay_ms=retry_delay_milliseconds(retry_delay), now=now)
    try:
        yield Statement(sql=_DEFER, document=document, is_guarded=True)
    except QueryError:
        return False  # It keeps its place in the window, but must not undo the others.
    return True


def _reap_document(
    ids: Sequence[UUID], retry_delay: timedelta, now: datetime | None, *, ends_steps: bool | None = None
) -> str:
    return encode_document(
        job_ids=[str(job_id) for job_id in ids],
        retry_delay_ms=retry_delay_milliseconds(retry_delay),
        ends_steps=ends_steps,
        now=now,
    )


def _lease(row: Row) -> LeaseIdentity:
    return LeaseIdentity(
        job_id=row["job_id"], run_number=row["run_number"], attempt=row["attempt"], worker_id=row["worker_id"]
    )


def _dead_letter(row: Row) -> ReapedDeadLetter:
    return ReapedDeadLetter(**{name: value for name, value in row.items() if name not in _NOT_OF_DEAD_LETTER})
