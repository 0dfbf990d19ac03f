"""What the rules of schedules refuse."""

from __future__ import annotations

from collections.abc import Sequence

from runledger.core.errors import InvalidArgumentError, InvalidCronError
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal

_SHOWN = 3


def definition_missing(operation_name: str, job_types: Sequence[str]) -> QueryError:
    """Return the error of schedules that need the enabled definitions of these types."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        "job_schedule.definition_not_found_or_disabled",
        f"{_named(job_types)} no enabled definition, which an active schedule needs; define or enable it first",
        internal=f"{operation_name}: no enabled definition of {', '.join(job_types)}",
    )


def name_taken(operation_name: str) -> QueryError:
    """Return the error of a name that a schedule outside the caller's scope has."""
    return refusal(
        QueryErrorCategory.CONFLICT,
        "job_schedule.name_taken",
        "a schedule of another organization has this name; choose another one",
        internal=f"{operation_name}: the schedule of this name is outside the scope",
    )


def outside_the_scope() -> InvalidArgumentError:
    """Return the error of a new schedule that its maker could not see, nor pause, nor delete."""
    return InvalidArgumentError(
        "organization_id",
        "is outside the scope",
        "pass the organization of the scope (none with Global()), or Admin() as scope",
    )


def owner_mismatch(operation_name: str, owner: str) -> QueryError:
    """Return the error of a schedule that another owner declares."""
    return refusal(
        QueryErrorCategory.CONFLICT,
        "job_schedule.owner_mismatch",
        f"the schedule belongs to {owner}; change it there, or delete it first",
        internal=f"{operation_name}: the schedule belongs to {owner}",
    )


def moves_too_fast(operation_name: str) -> QueryError:
    """Return the error of a schedule that others make, change and delete at the same time, again and again."""
    return refusal(
        QueryErrorCategory.CONFLICT,
        "job_schedule.concurrent_change",
        "the schedule was changed by others at the same time; try again",
        internal=f"{operation_name}: the schedule was another one at each look",
    )


def fires_no_more() -> InvalidCronError:
    """Return the error of an expression whose times are all over."""
    return InvalidCronError("cron_expr", "fires no more", "write an expression that has a time ahead")


def _named(job_types: Sequence[str]) -> str:
    shown = ", ".join(repr(job_type) for job_type in job_types[:_SHOWN])
    if len(job_types) == 1:
        return f"job type {shown} has"
    more = len(job_types) - _SHOWN
    return f"job types {shown}{f' and {more} more' if more > 0 else ''} have"
