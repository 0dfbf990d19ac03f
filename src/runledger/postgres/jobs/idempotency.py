"""Answers to keyed requests that made no job."""

from __future__ import annotations

from uuid import UUID

from runledger.postgres.missing_definitions import definition_missing
from runledger.postgres.operation import Row, Steps
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal


def existing_job_of(row: Row, *, place: str = "") -> Steps[UUID | None]:
    """Return the job of an identical earlier request, or ``None`` when the statement could not see who has the key.

    Args:
        row: The answer.
        place: What the text of a refusal begins with: which of several requests it is.

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
                f"{place}a job with this idempotency key was enqueued by a different request",
                internal=f"jobs.enqueue: another request of type {job_type} has the key",
            )
        case "NO_SNAPSHOT":
            raise refusal(
                QueryErrorCategory.CONFLICT,
                "job.legacy_idempotency_snapshot_missing",
                f"{place}a job with this idempotency key exists, but was stored without the request that made it",
                internal=f"jobs.enqueue: job {row['existing_job_id']} of type {job_type} has no snapshot",
            )
        case "ISOLATION":
            raise refusal(
                QueryErrorCategory.VALIDATION,
                "job.enqueue_idempotency_unsupported_isolation",
                f"{place}enqueueing with an idempotency key needs a transaction at READ COMMITTED",
                internal=f"jobs.enqueue: unsupported isolation for a keyed request of type {job_type}",
            )
        case _:
            raise (yield from definition_missing([job_type], place=place))


def key_taken_by_nobody(*, place: str = "") -> QueryError:
    """Return the error of a key that conflicts although no row has it, however often one looks."""
    return refusal(
        QueryErrorCategory.INTERNAL,
        "job.idempotency_conflict_missing_existing",
        f"{place}the idempotency key conflicts with a job that cannot be found",
        internal="jobs.enqueue: the unique index refuses a key that no visible row has",
    )
