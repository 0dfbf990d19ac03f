"""Jitter of fires."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core import fire_jitter, first_fire_at, parse_cron

SCHEDULE_ID = UUID("018fa1f8-0000-7000-8000-000000000123")


def test_the_first_fire_of_the_fixture_is_its_cron_time_plus_jitter() -> None:
    """SCH-011."""
    first = first_fire_at(
        parse_cron("0 * * * * *"),
        zone=UTC,
        schedule_id=SCHEDULE_ID,
        max_jitter_seconds=30,
        after=datetime(2026, 5, 26, 12, tzinfo=UTC),
    )

    assert first == datetime(2026, 5, 26, 12, 1, 3, tzinfo=UTC)


def test_the_jitter_of_the_nil_id_is_that_of_the_fixture() -> None:
    """SCH-011."""
    jitter = fire_jitter(UUID(int=0), datetime(2026, 6, 3, 12, 5, tzinfo=UTC), max_jitter_seconds=60)

    assert jitter == timedelta(seconds=54)


@given(
    schedule_id=st.uuids(),
    fire_at=st.datetimes(timezones=st.just(UTC)),
    max_jitter_seconds=st.integers(0, 86_400),
)
def test_jitter_is_in_whole_seconds_up_to_the_longest_and_the_same_each_time(
    schedule_id: UUID, fire_at: datetime, max_jitter_seconds: int
) -> None:
    """SCH-010."""
    jitter = fire_jitter(schedule_id, fire_at, max_jitter_seconds=max_jitter_seconds)

    assert timedelta() <= jitter <= timedelta(seconds=max_jitter_seconds)
    assert jitter.microseconds == 0
    assert jitter == fire_jitter(schedule_id, fire_at, max_jitter_seconds=max_jitter_seconds)


@pytest.mark.parametrize("schedule_id", [UUID(int=0), SCHEDULE_ID, UUID(int=2**128 - 1)], ids=str)
def test_a_schedule_without_jitter_is_due_at_its_cron_time(schedule_id: UUID) -> None:
    """SCH-020."""
    first = first_fire_at(
        parse_cron("0 * * * * *"),
        zone=UTC,
        schedule_id=schedule_id,
        max_jitter_seconds=0,
        after=datetime(2026, 5, 26, 12, tzinfo=UTC),
    )

    assert first == datetime(2026, 5, 26, 12, 1, tzinfo=UTC)


def test_a_schedule_whose_years_are_over_has_no_first_fire() -> None:
    first = first_fire_at(
        parse_cron("0 0 0 1 1 ? 2025"),
        zone=UTC,
        schedule_id=SCHEDULE_ID,
        max_jitter_seconds=30,
        after=datetime(2026, 1, 1, tzinfo=UTC),
    )

    assert first is None
