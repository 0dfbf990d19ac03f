"""Enqueue: from a request to a PENDING job with its ENQUEUED event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.enqueue_request import EnqueueRequest
from runledger.core.json_value import encode_json
from runledger.postgres.document import MAX_BATCH_BYTES, MAX_BATCH_ROWS, check_now, encode_document, json_text
from runledger.postgres.operation import Rows, Statement, Steps, operation
from runledger.postgres.sql_errors import QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.uuid7 import uuid7

_ENQUEUE = SqlFile("jobs", "enqueue_jobs")

_ONE_MICROSECOND = timedelta(microseconds=1)


@operation("jobs.enqueue_job")
def enqueue_job(request: EnqueueRequest, *, now: datetime | None = None) -> Steps[UUID]:
    """Enqueue one job and return its id.

    The batch of one of :func:`enqueue_jobs`.

    Args:
        request: What to run.
        now: Instant to use instead of the transaction's, for tests.

    Raises:
        QueryError: ``job.definition_not_found_or_disabled``; nothing was written.
    """
    check_now(now)
    job_id = uuid7()
    rows = yield Statement(sql=_ENQUEUE, document=_document([_row(job_id, request)], now), is_only=True)
    _check_enqueued(rows)
    return job_id


@operation("jobs.enqueue_jobs")
def enqueue_jobs(requests: Iterable[EnqueueRequest], *, now: datetime | None = None) -> Steps[list[UUID]]:
    """Enqueue many jobs in one transaction and return their ids in the order of the requests.

    The iterable is read as it is sent, in statements of at most 1,000 rows or 8 MiB; only ids are kept.

    Args:
        requests: What to run.
        now: Instant to use instead of the transaction's, for tests.

    Raises:
        QueryError: ``job.definition_not_found_or_disabled`` for any of them; none is enqueued.
    """
    check_now(now)
    ids: list[UUID] = []
    batches = _batches(requests, ids)
    batch = next(batches, None)
    while batch is not None:
        following = next(batches, None)
        is_only = following is None and len(ids) <= len(batch)
        rows = yield Statement(sql=_ENQUEUE, document=_document(batch, now), is_only=is_only)
        _check_enqueued(rows)
        batch = following
    return ids


def _batches(requests: Iterable[EnqueueRequest], ids: list[UUID]) -> Iterator[list[str]]:
    """Yield documents' rows, each batch within the limits, and add the ids they were given."""
    rows: list[str] = []
    size = 0
    for index, request in enumerate(requests):
        if not isinstance(request, EnqueueRequest):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                f"requests[{index}]", f"is of type {type(request).__name__}", "pass EnqueueRequest objects"
            )
        job_id = uuid7()
        row = _row(job_id, request)
        row_size = len(row) if row.isascii() else len(row.encode())
        if rows and (len(rows) == MAX_BATCH_ROWS or size + row_size > MAX_BATCH_BYTES):
            yield rows
            rows, size = [], 0
        rows.append(row)
        size += row_size
        ids.append(job_id)
    if rows:
        yield rows


def _row(job_id: UUID, request: EnqueueRequest) -> str:
    # Built as text: the payload is encoded once, and its size is known before the batch is closed.
    row = (
        f'{{"id":"{job_id}","job_type":{json_text(request.job_type)},"stage":{json_text(request.stage)},'
        f'"payload":{encode_json(request.payload, field="payload")}'
    )
    if request.organization_id is not None:
        row += f',"organization_id":"{request.organization_id}"'
    if request.priority is not None:
        row += f',"priority":{request.priority}'
    if request.max_attempts is not None:
        row += f',"max_attempts":{request.max_attempts}'
    if request.timeout is not None:
        row += f',"timeout_seconds":{int(request.timeout.total_seconds())}'
    if request.run_at is not None:
        row += f',"next_run_at":"{request.run_at.astimezone(UTC).isoformat()}"'
    if request.run_in is not None:
        row += f',"run_in_us":{request.run_in // _ONE_MICROSECOND}'
    return row + "}"


def _document(rows: list[str], now: datetime | None) -> str:
    return f'{encode_document(now=now)[:-1]}{"," if now else ""}"jobs":[{",".join(rows)}]}}'


def _check_enqueued(rows: Rows) -> None:
    missing = rows[0]["missing_job_types"]
    if missing:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job.definition_not_found_or_disabled",
            "the job type has no enabled definition",
            internal=f"jobs.enqueue: no enabled definition of {', '.join(missing)}",
        )
