"""What follows a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.jobs.failure_decision import DeadLetterDecision, RetryDecision, decide_failure
from runledger.core.jobs.status import JobDeadLetterReason, JobFailureKind

retryable_kinds = st.sampled_from([kind for kind in JobFailureKind if kind.is_retryable])
final_kinds = st.sampled_from([kind for kind in JobFailureKind if not kind.is_retryable])
attempts = st.integers(1, 50)
delays = st.none() | st.integers(-1000, 100_000)


@given(kind=retryable_kinds, attempt=attempts, left=attempts, delay=delays)
def test_a_retryable_failure_with_attempts_left_is_retried_after_the_delay(
    kind: JobFailureKind, attempt: int, left: int, delay: int | None
) -> None:
    """LIFE-019, LIFE-022, LIFE-029: an absent or negative delay counts as zero."""
    decision = decide_failure(kind, attempt, attempt + left, delay)

    expected = 0 if delay is None or delay < 0 else delay
    assert decision == RetryDecision(retry_delay_ms=expected)


@given(kind=retryable_kinds, attempt=attempts, over=st.integers(0, 5), delay=delays)
def test_a_retryable_failure_on_the_last_attempt_is_dead_lettered(
    kind: JobFailureKind, attempt: int, over: int, delay: int | None
) -> None:
    """LIFE-025, LIFE-031."""
    decision = decide_failure(kind, attempt + over, attempt, delay)

    assert decision == DeadLetterDecision(reason=JobDeadLetterReason.ATTEMPTS_EXHAUSTED)


@given(kind=final_kinds, attempt=attempts, max_attempts=attempts, delay=delays)
def test_a_kind_without_retry_is_dead_lettered_for_that_reason_on_the_last_attempt_too(
    kind: JobFailureKind, attempt: int, max_attempts: int, delay: int | None
) -> None:
    """LIFE-023, LIFE-024, LIFE-031."""
    decision = decide_failure(kind, attempt, max_attempts, delay)

    assert decision == DeadLetterDecision(reason=JobDeadLetterReason.FAILURE_KIND_NON_RETRYABLE)


@pytest.mark.parametrize("kind", JobFailureKind)
def test_the_reason_lease_expired_is_the_reapers_alone(kind: JobFailureKind) -> None:
    decision = decide_failure(kind, 1, 1, None)

    assert isinstance(decision, DeadLetterDecision)
    assert decision.reason is not JobDeadLetterReason.LEASE_EXPIRED
