"""The refusal of requests whose job types nobody has defined."""

from __future__ import annotations

from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal

_SHOWN_TYPES = 3


def definition_missing(job_types: list[str], *, code: str = "job.definition_not_found_or_disabled") -> QueryError:
    """Return the error of requests whose types have no enabled definition."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        code,
        f"{_named(job_types)} no enabled definition; check the name, or define it with ensure_job_definitions",
        internal=f"enqueue: no enabled definition of {', '.join(job_types)}",
    )


def _named(job_types: list[str]) -> str:
    shown = ", ".join(repr(job_type) for job_type in job_types[:_SHOWN_TYPES])
    if len(job_types) == 1:
        return f"job type {shown} has"
    more = len(job_types) - _SHOWN_TYPES
    return f"job types {shown}{f' and {more} more' if more > 0 else ''} have"
