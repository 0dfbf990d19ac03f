"""Pause a job type, and resume it."""

from __future__ import annotations

from datetime import datetime

from runledger.core.database_text import check_text
from runledger.core.jobs.records import JobDefinition
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_definition
from runledger.postgres.sql_files import SqlFile

_PAUSE = SqlFile("admin", "pause_job_type")
_RESUME = SqlFile("admin", "resume_job_type")


@operation("admin.pause_job_type")
def pause_job_type(job_type: str, *, now: datetime | None = None) -> Steps[JobDefinition | None]:
    """Let no job of a type be claimed any more, and return its definition, or ``None`` when the type is unknown.

    Jobs are still enqueued, canceled and reaped. Those that run go on, and so does what a claim brings that had begun
    before the commit. A type that is paused already stays so since when it was.

    Args:
        job_type: The type.
        now: Instant to use instead of the transaction's, for tests.
    """
    check_text("job_type", job_type)
    check_now(now)
    rows = yield Statement(sql=_PAUSE, document=encode_document(job_type=job_type, now=now), is_only=True)
    return decode_definition(rows[0]) if rows else None


@operation("admin.resume_job_type")
def resume_job_type(
    job_type: str, *, notices: Notices | None = None, now: datetime | None = None
) -> Steps[JobDefinition | None]:
    """Let the jobs of a type be claimed again, and return its definition, or ``None`` when the type is unknown.

    Args:
        job_type: The type.
        notices: How its workers are told; without it they find what waits within some seconds.
        now: Instant to use instead of the transaction's, for tests.
    """
    check_text("job_type", job_type)
    check_now(now)
    document = encode_document(job_type=job_type, notifies=sends_inside(notices), now=now)
    rows = yield Statement(sql=_RESUME, document=document, is_only=True)
    if not rows:
        return None
    if notices is not None:
        notices.take(rows[0])
    return decode_definition(rows[0])
