from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from runledger.cli.times import describe_duration, describe_instant, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30", timedelta(seconds=30)),
        ("0.5", timedelta(milliseconds=500)),
        ("250ms", timedelta(milliseconds=250)),
        ("1.5s", timedelta(seconds=1.5)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("3d", timedelta(days=3)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "s", "-1", "1e9", "5 m", "1w", "\u0661s", "inf", "nan", "9" * 30, "9" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0 ms"),
        (timedelta(microseconds=400), "0 ms"),
        (timedelta(milliseconds=999), "999 ms"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=1.5), "1.5 s"),
        (timedelta(seconds=10.049), "10.05 s"),
        (timedelta(seconds=59.99), "59.99 s"),
        (timedelta(seconds=59.999), "1 min"),
        (timedelta(seconds=125), "2 min 5 s"),
        (timedelta(minutes=15), "15 min"),
        (timedelta(hours=3, minutes=4, seconds=59), "3 h 4 min"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
        (timedelta(days=3, minutes=59), "3 d"),
        (-timedelta(seconds=2), "-2 s"),
    ],
)
def test_a_duration_is_described_in_its_two_largest_units(duration: timedelta, text: str) -> None:
    assert describe_duration(duration) == text


def test_an_instant_is_described_in_utc_always_with_microseconds() -> None:
    assert describe_instant(datetime(2026, 5, 1, 12, tzinfo=UTC)) == "2026-05-01T12:00:00.000000Z"
    cest = timezone(timedelta(hours=2))
    assert describe_instant(datetime(2026, 5, 1, 14, 0, 0, 7, tzinfo=cest)) == "2026-05-01T12:00:00.000007Z"
