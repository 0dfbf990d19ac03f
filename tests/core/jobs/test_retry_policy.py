"""The delay before a retry."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.jobs.retry_policy import retry_delay

job_ids = st.uuids()


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (10, 300), (11, 300), (10**9, 300)],
)
def test_the_delay_doubles_up_to_five_minutes(attempt: int, seconds: int) -> None:
    """WRK-011."""
    middle_of_the_spread = UUID(int=500)

    assert retry_delay(middle_of_the_spread, attempt) == timedelta(seconds=seconds)


@given(job_id=job_ids, attempt=st.integers(1, 1000))
def test_the_spread_is_half_a_second_either_way_and_comes_from_the_job_id(job_id: UUID, attempt: int) -> None:
    """WRK-011."""
    middle = retry_delay(UUID(int=500), attempt)
    spread = retry_delay(job_id, attempt) - middle

    assert spread == timedelta(milliseconds=job_id.int % 1000 - 500)
    assert timedelta(milliseconds=-500) <= spread < timedelta(milliseconds=500)


@given(job_id=job_ids, attempt=st.integers())
def test_the_delay_is_the_same_each_time_and_never_below_a_second(job_id: UUID, attempt: int) -> None:
    """WRK-011."""
    delay = retry_delay(job_id, attempt)

    assert delay == retry_delay(job_id, attempt)
    assert delay >= timedelta(seconds=1)


@pytest.mark.parametrize("attempt", [0, -1, -(10**9)])
def test_an_attempt_below_one_counts_as_the_first(attempt: int) -> None:
    assert retry_delay(UUID(int=0), attempt) == retry_delay(UUID(int=0), 1)
