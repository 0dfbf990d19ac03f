"""Enqueue: from a request to a PENDING job with its ENQUEUED event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.item_checks import check_items
from runledger.core.jobs.enqueue_request import EnqueueRequest
from runledger.core.json_value import encode_json
from runledger.postgres.document import MAX_BATCH_BYTES, MAX_BATCH_ROWS, check_now, encode_document, json_text
from runledger.postgres.jobs.idempotency import existing_job_of, key_taken_by_nobody
from runledger.postgres.locks import set_lock_timeout
from runledger.postgres.missing_definitions import definition_missing
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Operation, Row, Rows, Statement, Steps, operation
from runledger.postgres.sql_errors import DatabaseConnectionError, QueryError, QueryErrorCategory, commit_unconfirmed
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.uuid7 import uuid7

_ENQUEUE = SqlFile("jobs", "enqueue_jobs")
_ENQUEUE_KEYED = SqlFile("jobs", "enqueue_keyed_jobs")

T = TypeVar("T")

_ONE_MICROSECOND = timedelta(microseconds=1)

# The first look waits for a twin, the second sees it. More are needed only when jobs are deleted in between.
_MAX_LOOKS = 4

# A server that did not notice the loss keeps the lost transaction open, and its rows make the recovery wait.
_RECOVERY_LOCK_TIMEOUT = timedelta(seconds=5)
_PRIMARY_KEY = "job_queue_pkey"


@operation("jobs.enqueue_job")
def enqueue_job(request: EnqueueRequest, *, notices: Notices | None = None, now: datetime | None = None) -> Steps[UUID]:
    """Enqueue one job and return its id; where the request has a key that is known, the id of the job that has it.

    The batch of one of :func:`enqueue_jobs`.

    Args:
        request: The request of the job.
        notices: How workers are told of jobs that are due soon; nobody is when not given.
        now: Instant to use instead of the transaction's, for tests.

    Raises:
        QueryError: Nothing was written; the codes are those of :func:`enqueue_jobs`.
        DatabaseConnectionError: As for :func:`enqueue_jobs`.
    """
    return (yield from _enqueue([request], notices, now, lambda ids: ids[0], is_single=True))


@operation("jobs.enqueue_jobs")
def enqueue_jobs(
    requests: Iterable[EnqueueRequest], *, notices: Notices | None = None, now: datetime | None = None
) -> Steps[list[UUID]]:
    """Enqueue many jobs in one transaction and return their ids in the order of the requests.

    The iterable is read as it is sent, in statements of at most 1,000 rows or 8 MiB; only ids are kept.

    A request whose key was used before, also by an earlier one of these requests, gives the id of the job that has it.
    Each statement takes its keys in one order, so that two calls with common keys wait for each other instead of
    deadlocking. That cannot hold across the statements of one call: with common keys in more than 1,000 requests, sort
    the requests by organization, job type and key.

    Args:
        requests: The requests of the jobs.
        notices: How workers are told of jobs that are due soon; nobody is when not given.
        now: Instant to use instead of the transaction's, for tests.

    Raises:
        QueryError: None is enqueued: ``job.definition_not_found_or_disabled``, ``job.idempotency_conflict``,
            ``job.legacy_idempotency_snapshot_missing`` or, with a key in a transaction above READ COMMITTED,
            ``job.enqueue_idempotency_unsupported_isolation``.
        DatabaseConnectionError: The connection was lost. On a pool none is enqueued, unless the code is
            ``db.transaction_commit_unconfirmed``: then that is not known.
    """
    return (yield from _enqueue(requests, notices, now, lambda ids: ids))


def _enqueue(
    requests: Iterable[EnqueueRequest],
    notices: Notices | None,
    now: datetime | None,
    result: Callable[[list[UUID]], T],
    *,
    is_single: bool = False,
) -> Steps[T]:
    check_now(now)
    given = check_items("requests", requests, EnqueueRequest, remedy="pass an iterable of EnqueueRequest")
    ids: list[UUID] = []
    batches = _batches(given, ids, is_single=is_single)
    batch, following = next(batches, None), next(batches, None)
    if batch is not None and following is None:
        recovery = _recovery(lambda: _repeat(batch, ids, notices, now), lambda: result(ids))
        yield from _send(batch, ids, notices, now, recovery=recovery, is_only=True)
        return result(ids)
    made: list[str] = []
    recovery = _recovery(lambda: _confirm(made, now), lambda: result(ids))
    while batch is not None:
        yield from _send(batch, ids, notices, now, recovery=recovery)
        if not made:
            made += batch.some_row_made(ids)
        batch, following = following, next(batches, None)
    return result(ids)


@dataclass(frozen=True, slots=True)
class _KeyedRow:
    """A request with key: the id its job gets if the key is new, its place among the requests, and its JSON."""

    job_id: UUID
    index: int
    json: str


@dataclass(slots=True)
class _Batch:
    """The rows of one document or, with keyed and other requests among them, of two.

    Attributes:
        unkeyed: Rows without key, as JSON.
        keyed: Rows with key.
        size: Bytes of all of them.
        is_single: Whether the caller has passed one request, which has no place among others.
        first_of_type: Where among the requests the first of each job type is.
    """

    is_single: bool
    unkeyed: list[str] = field(default_factory=list[str])
    keyed: list[_KeyedRow] = field(default_factory=list[_KeyedRow])
    size: int = 0
    first_of_type: dict[str, int] = field(default_factory=dict[str, int])

    def __len__(self) -> int:
        return len(self.unkeyed) + len(self.keyed)

    def add(self, request: EnqueueRequest, job_id: UUID, index: int, row: str, size: int) -> None:
        if request.idempotency_key is None:
            self.unkeyed.append(row)
        else:
            self.keyed.append(_KeyedRow(job_id=job_id, index=index, json=row))
        self.size += size
        self.first_of_type.setdefault(request.job_type, index)

    def place_of(self, job_types: list[str]) -> str:
        """Return which request is the first of these types, as a text of a refusal begins."""
        places = [self.first_of_type[job_type] for job_type in job_types]
        return f"from requests[{min(places)}] on: " if len(places) > 1 else self.place_at(places[0])

    def place_at(self, index: int) -> str:
        """Return which request it is, as a text of a refusal begins."""
        return "" if self.is_single else f"requests[{index}]: "

    def some_row_made(self, ids: list[UUID]) -> list[str]:
        """Return one row that made a job, given the ids of all; none if every key was known."""
        return [*self.unkeyed[:1], *(row.json for row in self.keyed if ids[row.index] == row.job_id)][:1]


def _batches(requests: Iterator[EnqueueRequest], ids: list[UUID], *, is_single: bool) -> Iterator[_Batch]:
    """Yield batches within the limits, and add the ids that their jobs get if they are made."""
    batch = _Batch(is_single=is_single)
    for index, request in enumerate(requests):
        job_id = uuid7()
        try:
            row = _row(job_id, request)
        except InvalidArgumentError as error:
            raise (error if is_single else error.of_field(f"requests[{index}].{error.field}")) from None
        size = len(row) if row.isascii() else len(row.encode())
        if len(batch) == MAX_BATCH_ROWS or (batch.size and batch.size + size > MAX_BATCH_BYTES):
            yield batch
            batch = _Batch(is_single=is_single)
        batch.add(request, job_id, index, row, size)
        ids.append(job_id)
    if len(batch):
        yield batch


def _send(
    batch: _Batch,
    ids: list[UUID],
    notices: Notices | None,
    now: datetime | None,
    *,
    recovery: Operation[object],
    is_only: bool = False,
) -> Steps[None]:
    if batch.unkeyed:
        rows = yield Statement(
            sql=_ENQUEUE,
            document=_document(batch.unkeyed, notices, now),
            is_only=is_only and not batch.keyed,
            recovery=recovery,
        )
        yield from _check_enqueued(rows, batch, is_only=is_only and not batch.keyed)
        _take(notices, rows[0])
    yield from _send_keyed(batch, ids, notices, now, recovery=recovery)


def _send_keyed(
    batch: _Batch,
    ids: list[UUID],
    notices: Notices | None,
    now: datetime | None,
    *,
    recovery: Operation[object] | None = None,
) -> Steps[None]:
    """Make the jobs whose keys are new, and set the ids of the others."""
    keyed = batch.keyed
    for _ in range(_MAX_LOOKS):
        if not keyed:
            return
        rows = yield Statement(
            sql=_ENQUEUE_KEYED, document=_document([row.json for row in keyed], notices, now), recovery=recovery
        )
        unseen: list[_KeyedRow] = []
        for row in rows:
            _take(notices, row)
            if row["ordinality"] is None:
                continue  # it came for its notice
            place: int = row["ordinality"] - 1
            request = keyed[place]
            existing = yield from existing_job_of(row, place=batch.place_at(request.index))
            if existing is None:
                unseen.append(request)
            else:
                ids[request.index] = existing
        keyed = unseen
    raise key_taken_by_nobody(place=batch.place_at(keyed[0].index))


def _repeat(batch: _Batch, ids: list[UUID], notices: Notices | None, now: datetime | None) -> Steps[None]:
    """Settle a transaction of one batch, which is at hand: do the same again, with the same ids.

    If the first was committed, it meets its own primary keys or finds its own keys; if not, it takes place now. Should
    the first still be on its way, whichever of the two comes later does nothing.
    """
    if batch.unkeyed:
        yield from _make_again(batch.unkeyed, notices, now)
    yield from _send_keyed(batch, ids, notices, now)


def _confirm(made: list[str], now: datetime | None) -> Steps[None]:
    """Settle a transaction of several batches, which are gone: one job of it tells of all.

    Each of its statements was answered, so the transaction is committed, aborted, or waits for the end of its session;
    only in the last case does this wait.
    """
    if made and (yield from _make_again(made, None, now)):
        # Raised, so that this one job is rolled back as well.
        raise DatabaseConnectionError("jobs.enqueue_jobs: the connection was lost before the commit")


def _recovery(settle: Callable[[], Steps[None]], result: Callable[[], T]) -> Operation[T]:
    """Return the recovery that settles a commit. It ends with the result or a conflict, or leaves the commit open."""

    def steps() -> Steps[T]:
        refused: QueryError
        try:
            yield from set_lock_timeout(_RECOVERY_LOCK_TIMEOUT)
            yield from settle()
            return result()
        except QueryError as error:
            refused = error
        if refused.sqlstate is None and refused.category is QueryErrorCategory.CONFLICT:
            raise refused
        # A definition that is missing now, or a lock that was not to be had, tells nothing about the first time.
        raise commit_unconfirmed("jobs.enqueue_jobs", source=refused)

    return Operation(name="jobs.enqueue_jobs", begin=steps)


def _make_again(rows: list[str], notices: Notices | None, now: datetime | None) -> Steps[bool]:
    """Make jobs that may exist already, all or none of them, and tell whether they were made now."""
    refused: QueryError
    try:
        answer = yield Statement(sql=_ENQUEUE, document=_document(rows, notices, now), is_guarded=True)
    except QueryError as error:
        refused = error
    else:
        yield from _check_enqueued(answer)
        _take(notices, answer[0])
        return True
    if refused.constraint != _PRIMARY_KEY:
        raise refused
    return False


def _row(job_id: UUID, request: EnqueueRequest) -> str:
    # Built as text: the payload is encoded once, and its size is known before the batch is closed.
    row = (
        f'{{"id":"{job_id}","job_type":{json_text(request.job_type)},"stage":{json_text(request.stage)},'
        f'"payload":{encode_json(request.payload, field="payload")}'
    )
    if request.organization_id is not None:
        row += f',"organization_id":"{request.organization_id}"'
    if request.priority is not None:
        row += f',"priority":{int(request.priority)}'  # a member of a class (int, Enum) has a text of its own
    if request.max_attempts is not None:
        row += f',"max_attempts":{int(request.max_attempts)}'
    if request.timeout is not None:
        row += f',"timeout_seconds":{int(request.timeout.total_seconds())}'
    if request.run_at is not None:
        row += f',"next_run_at":"{request.run_at.astimezone(UTC).isoformat()}"'
    if request.run_in is not None:
        row += f',"run_in_us":{request.run_in // _ONE_MICROSECOND}'
    if request.idempotency_key is not None:
        row += f',"idempotency_key":{json_text(request.idempotency_key)}'
    return row + "}"


def _document(rows: list[str], notices: Notices | None, now: datetime | None) -> str:
    head = encode_document(notifies=sends_inside(notices), now=now)[:-1]
    return f'{head}{"," if len(head) > 1 else ""}"jobs":[{",".join(rows)}]}}'


def _take(notices: Notices | None, row: Row) -> None:
    if notices is not None:
        notices.take(row)


def _check_enqueued(rows: Rows, batch: _Batch | None = None, *, is_only: bool = False) -> Steps[None]:
    missing = rows[0]["missing_job_types"]
    if missing:
        place = "" if batch is None else batch.place_of(missing)
        raise (yield from definition_missing(missing, place=place, opens_part=is_only))
