"""Lists and counts of jobs, at a cost that does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.item_checks import check_items
from runledger.core.jobs.status import JobStatus
from runledger.core.jobs.summaries import JobCount, JobPage, JobSummary
from runledger.core.scope import Scope
from runledger.postgres.admin.pagination import (
    INVALID_PAGINATION,
    MAX_LIMIT,
    SCAN_LIMIT,
    check_page_limit,
    decode_id_cursor,
    encode_cursor,
)
from runledger.postgres.document import Scalar, encode_document, scope_fields, text_filters
from runledger.postgres.operation import Rows, Statement, Steps, operation
from runledger.postgres.row_decoding import decode_job_summary
from runledger.postgres.sql_files import SqlFile

_LIST = SqlFile("admin", "list_jobs")
_LIST_GIVEN_UP = SqlFile("admin", "list_given_up_jobs")
_LIST_LIVE = SqlFile("admin", "list_live_jobs")
_GET_SUMMARIES = SqlFile("admin", "get_job_summaries")
_COUNT = SqlFile("admin", "count_jobs")

_GIVEN_UP = {JobStatus.DEAD_LETTERED, JobStatus.CANCELED}
_LIVE = {JobStatus.PENDING, JobStatus.LEASED}


@operation("admin.list_jobs")
def list_jobs(
    *,
    scope: Scope,
    status: JobStatus | None = None,
    job_type: str | None = None,
    job_type_contains: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Steps[JobPage]:
    """Return a page of jobs, newest first, without payloads.

    For a page at most 20,000 jobs are read. A filter that lets few of them through gives short pages, even empty ones,
    with a cursor to go on. Pages of jobs that wait, run, were given up or canceled hold those and read no others.

    Args:
        scope: Whose jobs may be seen.
        status: Only jobs with this status.
        job_type: Only jobs of exactly this type.
        job_type_contains: Only types with this text in them; case does not matter, ``%`` and ``_`` are literal.
        limit: Jobs at most, 1 to 1000.
        cursor: ``next_cursor`` of the page before, with the same filters.

    Raises:
        InvalidArgumentError: ``job.invalid_pagination``: the limit or the cursor is none.
    """
    check_page_limit(limit)
    before_id = decode_id_cursor(cursor)
    document = encode_document(
        **_filters(scope, status, job_type, job_type_contains), limit=limit, before_id=before_id, scan_limit=SCAN_LIMIT
    )
    if status in _LIVE:
        rows = yield Statement(sql=_LIST_LIVE, document=document)
        if not rows[0]["is_too_many"]:
            return _page(rows, limit, scan_end=None)
        rows = yield Statement(sql=_LIST, document=document)
    elif status in _GIVEN_UP:
        rows = yield Statement(sql=_LIST_GIVEN_UP, document=document, is_only=True)
    else:
        rows = yield Statement(sql=_LIST, document=document, is_only=True)
    return _page(rows, limit, scan_end=rows[0]["scan_end"])


@operation("admin.get_job_summaries")
def get_job_summaries(job_ids: Iterable[UUID], *, scope: Scope) -> Steps[list[JobSummary]]:
    """Return jobs by their ids, in the order of the ids; those that are not there, or not in the scope, are left out.

    Args:
        job_ids: At most 1000 different ids.
        scope: Whose jobs may be seen.

    Raises:
        InvalidArgumentError: ``job.invalid_pagination``: there are more.
    """
    ids = list(dict.fromkeys(check_items("job_ids", job_ids, UUID, remedy="pass a list of uuid.UUID")))
    if len(ids) > MAX_LIMIT:
        raise InvalidArgumentError(
            "job_ids", f"contains more than {MAX_LIMIT} ids", "ask for them in parts", code=INVALID_PAGINATION
        )
    fields = scope_fields(scope)
    if not ids:
        return []
    document = encode_document(job_ids=[str(job_id) for job_id in ids], **fields)
    rows = yield Statement(sql=_GET_SUMMARIES, document=document, is_only=True)
    return [decode_job_summary(row) for row in rows]


@operation("admin.count_jobs")
def count_jobs(
    *,
    scope: Scope,
    status: JobStatus | None = None,
    job_type: str | None = None,
    job_type_contains: str | None = None,
) -> Steps[JobCount]:
    """Count jobs, as far as 20,000 of them tell: there may be more when the count is not exact.

    Of jobs that wait, run, were given up or canceled only those are read; else the newest of all.

    Args:
        scope: Whose jobs may be seen.
        status: Only jobs with this status.
        job_type: Only jobs of exactly this type.
        job_type_contains: Only types with this text in them; case does not matter, ``%`` and ``_`` are literal.
    """
    document = encode_document(**_filters(scope, status, job_type, job_type_contains), scan_limit=SCAN_LIMIT)
    rows = yield Statement(sql=_COUNT, document=document, is_only=True)
    return JobCount(count=rows[0]["matching_count"], is_exact=rows[0]["scanned_count"] < SCAN_LIMIT)


def _filters(
    scope: Scope, status: JobStatus | None, job_type: str | None, job_type_contains: str | None
) -> dict[str, Scalar]:
    if status is not None and not isinstance(status, JobStatus):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("status", f"is of type {type(status).__name__}", "pass a JobStatus")
    return {
        **scope_fields(scope),
        "status": None if status is None else status.value,
        **text_filters(job_type=job_type, job_type_contains=job_type_contains),
    }


def _page(rows: Rows, limit: int, *, scan_end: UUID | None) -> JobPage:
    jobs = [decode_job_summary(row) for row in rows if row["id"] is not None]
    end = jobs[-1].id if len(jobs) == limit else scan_end
    return JobPage(jobs=jobs, next_cursor=None if end is None else encode_cursor(end))
