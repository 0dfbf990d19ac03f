"""What an edit of a payload answers. None of these is an error: the caller asked whether it may be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runledger.core.jobs.records import JobRecord


class PayloadRejection(StrEnum):
    """Why a payload was left as it is."""

    WORKFLOW_MANAGED = "WORKFLOW_MANAGED"
    """The job belongs to a workflow, whose steps rely on it."""

    IDEMPOTENT = "IDEMPOTENT"
    """It has an idempotency key: its request, repeated, would not be the same any more."""

    NOT_PENDING = "NOT_PENDING"
    """It does not wait: a handler has the payload, or it is history."""

    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    """The payload is no object and has no members."""

    LOCKED = "LOCKED"
    """Somebody else had the job locked for the whole time that was waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadUpdated:
    """The payload was changed.

    Attributes:
        job: The job as it is now.
    """

    job: JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadNotFound:
    """There is no such job in the scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRejected:
    """Nothing was written.

    Attributes:
        reason: The reason.
    """

    reason: PayloadRejection


PayloadEdit = PayloadUpdated | PayloadNotFound | PayloadRejected
"""One of the three; ``match`` over it is exhaustive."""
