"""Answers to keyed requests that made no job."""

from __future__ import annotations

from uuid import UUID

from runledger.postgres.operation import Row
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal

_SHOWN_TYPES = 3


def existing_job_of(row: Row) -> UUID | None:
    """Return the job of an identical earlier request, or ``None`` when the statement could not see who has the key.

    Raises:
        QueryError: The request is refused. Neither key nor payload is named, not even in the internal message.
    """
    job_type = row["job_type"]
    match row["answer"]:
        case "SAME":
            return row["existing_job_id"]
        case "UNSEEN":
            return None
        case "OTHER":
            raise refusal(
                QueryErrorCategory.CONFLICT,
                "job.idempotency_conflict",
                "a job with this idempotency key was enqueued by a different request",
                internal=f"jobs.enqueue: another request of type {job_type} has the key",
            )
        case "NO_SNAPSHOT":
            raise refusal(
                QueryErrorCategory.CONFLICT,
                "job.legacy_idempotency_snapshot_missing",
                "a job with this idempotency key exists, but was stored without the request that made it",
                internal=f"jobs.enqueue: job {row['existing_job_id']} of type {job_type} has no snapshot",
            )
        case "ISOLATION":
            raise refusal(
                QueryErrorCategory.VALIDATION,
                "job.enqueue_idempotency_unsupported_isolation",
                "enqueueing with an idempotency key needs a transaction at READ COMMITTED",
                internal=f"jobs.enqueue: unsupported isolation for a keyed request of type {job_type}",
            )
        case _:
            raise definition_missing([job_type])


def definition_missing(job_types: list[str], *, area: str = "job") -> QueryError:
    """Return the error of requests whose types have no enabled definition; its code begins with their area."""
    return refusal(
        QueryErrorCategory.VALIDATION,
        f"{area}.definition_not_found_or_disabled",
        f"{_named(job_types)} no enabled definition; check the name, or define it with ensure_job_definitions",
        internal=f"{area}s.enqueue: no enabled definition of {', '.join(job_types)}",
    )


def _named(job_types: list[str]) -> str:
    shown = ", ".join(repr(job_type) for job_type in job_types[:_SHOWN_TYPES])
    if len(job_types) == 1:
        return f"job type {shown} has"
    more = len(job_types) - _SHOWN_TYPES
    return f"job types {shown}{f' and {more} more' if more > 0 else ''} have"


def key_taken_by_nobody() -> QueryError:
    """Return the error of a key that conflicts although no row has it, however often one looks."""
    return refusal(
        QueryErrorCategory.INTERNAL,
        "job.idempotency_conflict_missing_existing",
        "the idempotency key conflicts with a job that cannot be found",
        internal="jobs.enqueue: the unique index refuses a key that no visible row has",
    )
