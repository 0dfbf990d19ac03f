"""Next and previous fires, across changes of the clock, against other evaluators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from runledger.core import InvalidArgumentError, InvalidCronError, next_fire, parse_cron, previous_fire
from runledger.core.schedules.next_fire import fires_ahead, fires_back
from tests.core.schedules.expressions import (
    WHOLE_HOUR_ZONE_NAMES,
    ZONE_NAMES,
    changes_of,
    expressions_with_seconds,
    fires,
    fires_of_croniter,
    fires_of_cronsim,
    fires_of_watched_clock,
    instants,
    nightly_expressions,
    readable,
    vixie_expressions,
)

BERLIN = ZoneInfo("Europe/Berlin")

# On 29 March 2026 the clock of Berlin goes from 02:00 to 03:00, on 25 October from 03:00 back to 02:00.
BEFORE_SUMMER_TIME = datetime(2026, 3, 28, 22, tzinfo=UTC)
BEFORE_WINTER_TIME = datetime(2026, 10, 24, 21, tzinfo=UTC)


def local_fires(text: str, after: datetime, zone: ZoneInfo, count: int) -> list[str]:
    """Return the first fires as the clock shows them, with the offset from UTC."""
    found = islice(fires(parse_cron(text), after, zone), count)
    return [f"{fire.astimezone(zone):%m-%d %H:%M:%S %z}".replace(":00 ", " ") for fire in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
        ("0,30 2 * * *", ["03-29 03:00 +0200", "03-30 02:00 +0200"]),
        ("0 2,3 * * *", ["03-29 03:00 +0200", "03-30 02:00 +0200"]),
        ("30 2 1 * sun", ["03-29 03:00 +0200", "04-01 02:30 +0200"]),
        ("30 1-3 * * *", ["03-29 01:30 +0100", "03-29 03:00 +0200", "03-29 03:30 +0200", "03-30 01:30 +0200"]),
        ("*/15 2 * * *", ["03-30 02:00 +0200", "03-30 02:15 +0200"]),
        ("30 * * * *", ["03-28 23:30 +0100", "03-29 00:30 +0100", "03-29 01:30 +0100", "03-29 03:30 +0200"]),
        ("0 */2 * * *", ["03-29 00:00 +0100", "03-29 04:00 +0200"]),
        ("0 30 2 * * *", ["03-30 02:30 +0200", "03-31 02:30 +0200"]),
        ("0 30 1-3 * * *", ["03-29 01:30 +0100", "03-29 03:30 +0200"]),
        ("15 30 * * * *", ["03-28 23:30:15 +0100", "03-29 00:30:15 +0100", "03-29 01:30:15 +0100"]),
    ],
)
def test_a_skipped_hour_is_made_up_for_by_fixed_times_of_five_fields_only(text: str, expected: list[str]) -> None:
    assert local_fires(text, BEFORE_SUMMER_TIME, BERLIN, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        ("0,30 2 * * *", ["10-25 02:00 +0200", "10-25 02:30 +0200", "10-26 02:00 +0100"]),
        ("0 2,3 * * *", ["10-25 02:00 +0200", "10-25 03:00 +0100", "10-26 02:00 +0100"]),
        ("*/30 2 * * *", ["10-25 02:00 +0200", "10-25 02:30 +0200", "10-25 02:00 +0100", "10-25 02:30 +0100"]),
        ("30 */2 * * *", ["10-25 00:30 +0200", "10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 04:30 +0100"]),
        ("0 30 2 * * *", ["10-25 02:30 +0200", "10-25 02:30 +0100", "10-26 02:30 +0100"]),
        ("0 0 2,3 * * *", ["10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 03:00 +0100"]),
    ],
)
def test_a_repeated_hour_counts_once_for_fixed_times_of_five_fields_only(text: str, expected: list[str]) -> None:
    assert local_fires(text, BEFORE_WINTER_TIME, BERLIN, len(expected)) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
        ("2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"),
        ("2026-10-25T02:29:59.999999+02:00", "2026-10-25T02:30:00+02:00"),
        ("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"),
        ("2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"),
    ],
)
def test_a_fixed_time_fires_once_whichever_instant_around_the_change_one_asks_from(after: str, expected: str) -> None:
    fire = next_fire(parse_cron("30 2 * * *"), after=datetime.fromisoformat(after), zone=BERLIN)

    assert fire == datetime.fromisoformat(expected)


def test_midnight_that_is_skipped_fires_at_the_first_minute_of_the_day() -> None:
    """In São Paulo the clock went from 00:00 to 01:00 on 4 November 2018."""
    after = datetime(2018, 11, 3, 12, tzinfo=UTC)

    assert local_fires("0 0 * * *", after, ZoneInfo("America/Sao_Paulo"), 2) == [
        "11-04 01:00 -0200",
        "11-05 00:00 -0200",
    ]


def test_half_an_hour_that_is_repeated_runs_wildcards_twice_and_fixed_times_once() -> None:
    """On Lord Howe the clock goes from 02:00 back to 01:30 on 5 April 2026."""
    zone = ZoneInfo("Australia/Lord_Howe")
    after = datetime(2026, 4, 4, 13, 45, tzinfo=UTC)

    assert local_fires("*/15 1 * * *", after, zone, 7) == [
        "04-05 01:00 +1100",
        "04-05 01:15 +1100",
        "04-05 01:30 +1100",
        "04-05 01:45 +1100",
        "04-05 01:30 +1030",
        "04-05 01:45 +1030",
        "04-06 01:00 +1030",
    ]
    assert local_fires("45 1 * * *", after, zone, 2) == ["04-05 01:45 +1100", "04-06 01:45 +1030"]


def test_a_change_of_three_hours_or_more_is_followed_as_the_clock_shows_it() -> None:
    """Samoa had no 30 December 2011; Casey went back by three hours at 04:00 on 11 March 2018."""
    apia, casey = ZoneInfo("Pacific/Apia"), ZoneInfo("Antarctica/Casey")

    assert local_fires("30 2 * * *", datetime(2011, 12, 29, 0, tzinfo=UTC), apia, 2) == [
        "12-29 02:30 -1000",
        "12-31 02:30 +1400",
    ]
    assert local_fires("15 2 * * *", datetime(2018, 3, 10, 12, tzinfo=UTC), casey, 3) == [
        "03-11 02:15 +1100",
        "03-11 02:15 +0800",
        "03-12 02:15 +0800",
    ]


def test_the_next_fire_is_in_utc_and_later_than_the_given_instant() -> None:
    """SCH-001."""
    expression = parse_cron("0 * * * * *")
    on_a_fire = datetime(2026, 5, 26, 12, tzinfo=timezone(timedelta(hours=2)))

    fire = next_fire(expression, after=on_a_fire, zone=UTC)

    assert fire == on_a_fire + timedelta(minutes=1)
    assert fire is not None
    assert fire.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("0 0 0 1 1 ? 1999", UTC),
        ("0 0 0 29 2 ? 2026,2027", UTC),
        # The last Sunday of March, if it is the 29th, begins summer time: there is no such 02:30.
        ("0 30 2 29 3 sun", BERLIN),
    ],
)
def test_an_expression_that_never_fires_again_is_told(text: str, zone: Any) -> None:
    assert next_fire(parse_cron(text), after=datetime(2026, 11, 24, tzinfo=UTC), zone=zone) is None


def test_a_search_ends_at_the_last_year_of_datetime() -> None:
    last_day = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert next_fire(parse_cron("0 0 1 1 *"), after=last_day, zone=UTC) is None
    assert previous_fire(parse_cron("0 0 29 2 *"), before=datetime(2, 1, 1, tzinfo=UTC), zone=UTC) is None


@pytest.mark.parametrize(
    ("after", "text", "expected"),
    [
        ("2026-11-24", "0 0 29 2 *", "2028-02-29"),
        ("2096-03-01", "0 0 29 2 *", "2104-02-29"),
        # The 29th of February is a Sunday again only after forty years: 2100 has none.
        ("2088-03-01", "0 0 0 29 2 sun", "2128-02-29"),
        ("2026-11-24", "0 0 13 * fri", "2026-11-27"),
        ("2026-11-24", "0 0 0 13 * fri", "2027-08-13"),
        ("2026-11-24", "0 0 */2 * mon", "2026-12-07"),
        ("2026-11-24", "0 0 12 * * 1", "2026-11-29T12:00"),
        ("2026-11-24", "0 0 12 ? * mon-fri 2030-2099", "2030-01-01T12:00"),
    ],
)
def test_rare_days_are_found_and_day_fields_combine_by_dialect(after: str, text: str, expected: str) -> None:
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)

    assert next_fire(parse_cron(text), after=start, zone=UTC) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("search", ["next", "previous"])
def test_an_instant_without_a_time_zone_or_out_of_range_is_refused(search: str) -> None:
    expression = parse_cron("0 0 * * *")

    def call(instant: datetime) -> object:
        if search == "next":
            return next_fire(expression, after=instant, zone=UTC)
        return previous_fire(expression, before=instant, zone=UTC)

    with pytest.raises(InvalidArgumentError, match="has no time zone"):
        call(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidArgumentError, match="is out of range"):
        call(datetime(9999, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidArgumentError, match="is out of range"):
        call(datetime(1, 12, 31, tzinfo=UTC))


@settings(max_examples=400, deadline=None)
@given(data=st.data(), zone_name=st.sampled_from(WHOLE_HOUR_ZONE_NAMES), text=vixie_expressions())
def test_five_fields_fire_as_cronsim_says(data: st.DataObject, zone_name: str, text: str) -> None:
    """Without Lord Howe, of whose half hours cronsim leaves some out; the watched clock has it."""
    zone = ZoneInfo(zone_name)
    after = data.draw(instants(zone_name))
    try:
        CronSim(text, after)
    except CronSimError:
        with pytest.raises(InvalidCronError):
            parse_cron(text)
        return

    assert list(islice(fires(parse_cron(text), after, zone), 5)) == fires_of_cronsim(text, after, zone)


def test_a_month_that_begins_in_a_gap_of_the_clock_has_no_fire_in_it() -> None:
    """In 2008 the first hour of June was left out in Casablanca; cronsim has a fire right after it."""
    after, zone = datetime(2007, 7, 1, tzinfo=UTC), ZoneInfo("Africa/Casablanca")

    assert next_fire(parse_cron("* 0 * 6 *"), after=after, zone=zone) == datetime(2008, 6, 1, 23, tzinfo=UTC)


@settings(max_examples=300, deadline=None)
@given(
    text=expressions_with_seconds(st.sampled_from(["*", "sun", "Mon", "tue", "SAT", "mon-fri"])),
    data=st.data(),
)
def test_six_fields_fire_in_utc_as_croniter_says(text: str, data: st.DataObject) -> None:
    """With names of weekdays only: croniter counts their numbers from another day."""
    expression = parse_cron(text)
    after = data.draw(instants("UTC")).replace(microsecond=0)

    assert list(islice(fires(expression, after, ZoneInfo("UTC")), 5)) == fires_of_croniter(text, after)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    zone_name=st.sampled_from([name for name in ZONE_NAMES if changes_of(name)]),
    text=nightly_expressions(),
)
def test_every_fire_around_a_change_is_one_of_the_watched_clock(data: st.DataObject, zone_name: str, text: str) -> None:
    zone = ZoneInfo(zone_name)
    change = data.draw(st.sampled_from(changes_of(zone_name)))
    after, until = change - timedelta(hours=6), change + timedelta(hours=6)
    expression = parse_cron(text)
    expected = fires_of_watched_clock(expression, after, until, zone)
    found: list[datetime] = []
    for fire in fires(expression, after, zone):
        if fire > until:
            break
        found.append(fire)

    assert found == expected
    for earlier, later in pairwise(found):
        assert previous_fire(expression, before=later, zone=zone) == earlier


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    zone_name=st.sampled_from(ZONE_NAMES),
    text=vixie_expressions().filter(readable) | expressions_with_seconds(),
)
def test_previous_and_next_are_counterparts(data: st.DataObject, zone_name: str, text: str) -> None:
    zone = ZoneInfo(zone_name)
    expression = parse_cron(text)
    instant = data.draw(instants(zone_name))
    later = next_fire(expression, after=instant, zone=zone)
    earlier = previous_fire(expression, before=instant, zone=zone)

    assert later is not None
    assert earlier is not None
    assert earlier < instant < later
    last_so_far = previous_fire(expression, before=later, zone=zone)
    assert last_so_far in {earlier, instant}
    assert next_fire(expression, after=earlier, zone=zone) in {later, instant}


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    zone_name=st.sampled_from(ZONE_NAMES),
    text=vixie_expressions().filter(readable) | expressions_with_seconds(),
)
def test_many_fires_are_those_of_as_many_searches(data: st.DataObject, zone_name: str, text: str) -> None:
    zone = ZoneInfo(zone_name)
    expression = parse_cron(text)
    instant = data.draw(instants(zone_name))

    ahead = list(islice(fires_ahead(expression, after=instant, zone=zone), 30))
    back = list(islice(fires_back(expression, before=instant, zone=zone), 30))

    assert ahead == [next_fire(expression, after=before, zone=zone) for before in [instant, *ahead][:-1]]
    assert back == [previous_fire(expression, before=after, zone=zone) for after in [instant, *back][:-1]]


@pytest.mark.parametrize("text", ["*/20 * * * *", "30 * * * *", "0 0/20 * * * ?", "30 1,2,3 * * *"])
@pytest.mark.parametrize("start", ["2026-03-28T00:00Z", "2026-10-24T00:00Z"])
def test_many_fires_go_right_across_changes_of_the_clock(text: str, start: str) -> None:
    expression, first = parse_cron(text), datetime.fromisoformat(start)
    last = first + timedelta(days=2)
    searched: list[datetime] = []
    fire = next_fire(expression, after=first, zone=BERLIN)
    while fire is not None and fire < last:
        searched.append(fire)
        fire = next_fire(expression, after=fire, zone=BERLIN)

    count = len(searched)
    assert list(islice(fires_ahead(expression, after=first, zone=BERLIN), count)) == searched
    assert list(islice(fires_back(expression, before=last, zone=BERLIN), count)) == searched[::-1]


def test_fires_of_an_expression_that_ends_are_all_of_them() -> None:
    expression = parse_cron("0 0 12 1 1 ? 2026,2027")
    fires = [datetime(year, 1, 1, 12, tzinfo=UTC) for year in (2026, 2027)]

    assert list(fires_ahead(expression, after=datetime(2025, 1, 1, tzinfo=UTC), zone=UTC)) == fires
    assert list(fires_back(expression, before=datetime(2030, 1, 1, tzinfo=UTC), zone=UTC)) == fires[::-1]
