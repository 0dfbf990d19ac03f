"""Metrics of job types, at a bounded cost."""

from __future__ import annotations

from datetime import datetime, timedelta

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.summaries import JobMetricsReport
from runledger.core.scope import Scope
from runledger.postgres.document import check_duration, check_now, encode_document, scope_fields, text_filters
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_job_metrics
from runledger.postgres.sql_files import SqlFile

_COUNT_RECENT = SqlFile("admin", "count_recent_attempts")
_GET = SqlFile("admin", "get_job_metrics")

_DAY = timedelta(days=1)
_LONGEST_WINDOW = timedelta(days=36_500)  # further back lie instants that Python does not have
_MAX_ATTEMPTS_READ = 10_000
_MAX_PENDING_COUNTED = 10_000
_FIRST_SPAN_SECONDS = 1.0
_GROWTH = 8


@operation("admin.get_job_metrics")
def get_job_metrics(
    *, scope: Scope, job_type: str | None = None, window: timedelta = _DAY, now: datetime | None = None
) -> Steps[JobMetricsReport]:
    """Return what each job type has waiting and running, and what its attempts came to lately.

    There is a row for every definition, with zeros when it is idle. About 10,000 attempts are read at most: where there
    were more in the window, the report looks back less far, and ``since`` says how far. What it counts from then on is
    complete, and the percentiles are those of all these attempts. Of jobs that wait 10,000 are counted for each type.

    Args:
        scope: Whose jobs are counted.
        job_type: Only exactly this type.
        window: How far to look back at most; up to 36,500 days.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_duration("window", window)
    if window <= timedelta():
        raise InvalidArgumentError("window", "is not positive", "say how far to look back")
    if window > _LONGEST_WINDOW:
        raise InvalidArgumentError("window", "is too long", f"pass at most {_LONGEST_WINDOW.days:,} days")
    check_now(now)
    fields = scope_fields(scope) | text_filters(job_type=job_type)
    at, span = yield from _find_span(window.total_seconds(), now)
    document = encode_document(**fields, at=at, since=at - span, count_limit=_MAX_PENDING_COUNTED)
    rows = yield Statement(sql=_GET, document=document)
    metrics = [decode_job_metrics(row, pending_limit=_MAX_PENDING_COUNTED) for row in rows]
    return JobMetricsReport(metrics=metrics, since=at - span, until=at)


def _find_span(window_seconds: float, now: datetime | None) -> Steps[tuple[datetime, timedelta]]:
    """Look back further and further, until there are enough attempts or the window is whole."""
    seconds = min(_FIRST_SPAN_SECONDS, window_seconds)
    while True:
        rows = yield Statement(sql=_COUNT_RECENT, document=encode_document(seconds=str(seconds), now=now))
        at, count = rows[0]["at"], rows[0]["attempt_count"]
        if count > _MAX_ATTEMPTS_READ:
            return at, timedelta(seconds=seconds * _MAX_ATTEMPTS_READ / count)
        if seconds >= window_seconds:
            return at, timedelta(seconds=window_seconds)
        if count * _GROWTH > _MAX_ATTEMPTS_READ:
            return at, timedelta(seconds=min(seconds * _MAX_ATTEMPTS_READ / count, window_seconds))
        seconds = min(seconds * _GROWTH, window_seconds)
