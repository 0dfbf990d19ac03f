"""Strategies for cron expressions, instants and zones, and what others make of them.

Two kinds of oracle: the libraries cronsim and croniter, and a clock that is watched minute by minute. The clock is
slow and plain: it shows what the rules mean without any search.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim
from hypothesis import strategies as st

from runledger.core import CronExpression, InvalidCronError, next_fire, parse_cron

MINUTE = timedelta(minutes=1)
ZONE_NAMES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # changes by half an hour
    "Africa/Casablanca",  # four changes a year, by the moon
    "America/Sao_Paulo",  # changed at midnight, until 2019
]
WHOLE_HOUR_ZONE_NAMES = [name for name in ZONE_NAMES if name != "Australia/Lord_Howe"]

_FIRST = datetime(2004, 1, 1, tzinfo=UTC)
_LAST = datetime(2034, 1, 1, tzinfo=UTC)
_MONTHS = ["jan", "Feb", "MAR", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "Mon", "TUE", "wed", "thu", "fri", "sat"]


@cache
def changes_of(zone_name: str) -> list[datetime]:
    """Return the instants from 2004 to 2033 at which the clock of a zone changes."""
    zone = ZoneInfo(zone_name)
    changes: list[datetime] = []
    day = _FIRST
    while day < _LAST:
        low, high = day, day + timedelta(days=1)
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
                    low = middle
                else:
                    high = middle
            changes.append(high)
        day += timedelta(days=1)
    return changes


def instants(zone_name: str) -> st.SearchStrategy[datetime]:
    """Instants, half of them within two days of a change of the clock."""
    anywhere = st.datetimes(datetime(2004, 1, 1), datetime(2033, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    changes = changes_of(zone_name)
    if not changes:
        return anywhere
    near = st.tuples(st.sampled_from(changes), st.integers(-172_800, 172_800))
    return anywhere | near.map(lambda pair: pair[0] + timedelta(seconds=pair[1]))


def _field(low: int, high: int, names: list[str] | None = None) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high).map(str)
    if names is not None:
        numbers |= st.sampled_from(names)
    # Of a range of one number, such as 0-0, both libraries make the whole field, at least before a step.
    ends = st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True).map(sorted)
    ranges = ends.map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.integers(1, high).map(lambda step: f"/{step}")
    with_steps = st.builds("{}{}".format, st.just("*") | ranges, steps)
    lists = st.lists(numbers | ranges | with_steps, min_size=2, max_size=3).map(",".join)
    return st.just("*") | numbers | ranges | with_steps | lists


def vixie_expressions() -> st.SearchStrategy[str]:
    """Expressions of five fields."""
    fields = [_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12, _MONTHS), _field(0, 7, _WEEKDAYS)]
    return st.tuples(*fields).map(" ".join)


def expressions_with_seconds(weekday: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    """Expressions of six fields with days that occur."""
    weekday = _field(1, 7, _WEEKDAYS) if weekday is None else weekday
    fields = [_field(0, 59), _field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12, _MONTHS), weekday]
    return st.tuples(*fields).map(" ".join).filter(readable)


def nightly_expressions() -> st.SearchStrategy[str]:
    """Expressions of either dialect for every day, at hours at which clocks change."""
    seconds = st.sampled_from(["", "0 ", "59 ", "*/20 "])
    hours = st.sampled_from(["*", "*/2", "0", "1", "2", "3", "23", "0-3", "1,3", "0-23"])
    return st.builds("{}{} {} * * *".format, seconds, _field(0, 59), hours)


def readable(text: str) -> bool:
    """Return whether an expression has days that occur; those that the strategies make break no other rule."""
    try:
        parse_cron(text)
    except InvalidCronError:
        return False
    return True


def fires(expression: CronExpression, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the instants at which an expression fires."""
    fire = next_fire(expression, after=after, zone=zone)
    while fire is not None:
        yield fire
        fire = next_fire(expression, after=fire, zone=zone)


def fires_of_cronsim(text: str, after: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the first instants of an expression of five fields, by cronsim."""
    # Asked from the second pass of a repeated hour, it begins with the first pass.
    in_order = (fire.astimezone(UTC) for fire in CronSim(text, after.astimezone(zone)))
    in_order = (fire for fire in in_order if fire > after)
    expression = parse_cron(text)
    if expression.follows_wall_clock:
        # It moves such a fire behind a gap of the clock, too, where a month begins in the gap.
        in_order = (fire for fire in in_order if _names(expression, fire.astimezone(zone)))
    return list(islice(in_order, 5))


def fires_of_croniter(text: str, after: datetime) -> list[datetime]:
    """Return the first instants of an expression of six fields in UTC, by croniter."""
    iterator = croniter(text, after, second_at_beginning=True, day_or=False)
    return [iterator.get_next(datetime) for _ in range(5)]


def fires_of_watched_clock(
    expression: CronExpression, after: datetime, until: datetime, zone: ZoneInfo
) -> list[datetime]:
    """Return the instants after one whole minute and up to another, by looking at the clock each minute."""
    found: list[datetime] = []
    minute = after
    while minute <= until:
        shown = minute.astimezone(zone)
        last = (minute - MINUTE).astimezone(zone).replace(tzinfo=None) + MINUTE
        is_due = _names(expression, shown) and (expression.follows_wall_clock or shown.fold == 0)
        if not expression.follows_wall_clock:
            while last < shown.replace(tzinfo=None):
                is_due = is_due or _names(expression, last)
                last += MINUTE
        if is_due:
            found += [minute + timedelta(seconds=second) for second in expression.seconds]
        minute += MINUTE
    return [fire for fire in found if after < fire <= until]


def _names(expression: CronExpression, local: datetime) -> bool:
    in_days = local.day in expression.days
    in_weekdays = local.isoweekday() % 7 in expression.weekdays
    return (
        local.minute in expression.minutes
        and local.hour in expression.hours
        and local.month in expression.months
        and (in_days or in_weekdays if expression.one_day_field_suffices else in_days and in_weekdays)
    )
