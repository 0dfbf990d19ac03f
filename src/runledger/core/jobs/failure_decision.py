"""What follows the failure of an attempt: another attempt, or a dead letter."""

from __future__ import annotations

from dataclasses import dataclass

from runledger.core.jobs.status import JobDeadLetterReason, JobFailureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """The job becomes PENDING again.

    Attributes:
        retry_delay_ms: How long from now it is due; zero or more.
    """

    retry_delay_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterDecision:
    """The job is given up.

    Attributes:
        reason: The reason.
    """

    reason: JobDeadLetterReason


FailureDecision = RetryDecision | DeadLetterDecision
"""One of the two; ``match`` over it is exhaustive."""


def decide_failure(
    kind: JobFailureKind, attempt: int, max_attempts: int, retry_delay_ms: int | None
) -> FailureDecision:
    """Decide what a lease holder's failure leads to.

    A kind that allows no retry comes first: on the last attempt too, its reason is
    FAILURE_KIND_NON_RETRYABLE. The reason LEASE_EXPIRED never comes from here, it is the reaper's.

    Args:
        kind: The kind of failure.
        attempt: The attempt that failed, from 1.
        max_attempts: How many the job has.
        retry_delay_ms: The delay before a retry; absent or negative counts as zero, and without a retry it
            counts for nothing.
    """
    if not kind.is_retryable:
        return DeadLetterDecision(reason=JobDeadLetterReason.FAILURE_KIND_NON_RETRYABLE)
    if attempt >= max_attempts:
        return DeadLetterDecision(reason=JobDeadLetterReason.ATTEMPTS_EXHAUSTED)
    return RetryDecision(retry_delay_ms=max(retry_delay_ms or 0, 0))
