"""The local times that a cron expression names, without regard to any time zone.

The search goes field by field, from the year to the second, so a fire that is years away costs no more than the
months between.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time

from runledger.core.schedules.cron_expression import CronExpression

_DAYS_IN_WEEK = 7


def first_match(expression: CronExpression, not_before: datetime, *, last_year: int) -> datetime | None:
    """Return the first local time of an expression that is not before the given one.

    Args:
        expression: The expression whose times are searched.
        not_before: A local time without a zone, in whole seconds.
        last_year: The last year that is searched.

    Returns:
        A local time without a zone, or ``None`` if there is none up to the end of that year.
    """
    return next(matches_ahead(expression, not_before, last_year=last_year), None)


def last_match(expression: CronExpression, not_after: datetime, *, first_year: int) -> datetime | None:
    """Return the last local time of an expression that is not after the given one.

    Args:
        expression: The expression whose times are searched.
        not_after: A local time without a zone, in whole seconds.
        first_year: The first year that is searched.

    Returns:
        A local time without a zone, or ``None`` if there is none down to the beginning of that year.
    """
    return next(matches_back(expression, not_after, first_year=first_year), None)


def matches_ahead(expression: CronExpression, not_before: datetime, *, last_year: int) -> Iterator[datetime]:
    """Yield the local times of an expression from :func:`first_match` on, each at the cost of a step."""
    start = not_before.year, not_before.month, not_before.day
    for year in _years(expression, range(not_before.year, last_year + 1)):
        for month in expression.months:
            if (year, month) < start[:2]:
                continue
            for day in _days(expression, year, month):
                if (year, month, day) < start:
                    continue
                is_start = (year, month, day) == start
                day_of_month = date(year, month, day)
                for clock in _times_ahead(expression, not_before.time() if is_start else time.min):
                    yield datetime.combine(day_of_month, clock)


def matches_back(expression: CronExpression, not_after: datetime, *, first_year: int) -> Iterator[datetime]:
    """Yield the local times of an expression from :func:`last_match` back, each at the cost of a step."""
    start = not_after.year, not_after.month, not_after.day
    for year in _years(expression, range(not_after.year, first_year - 1, -1)):
        for month in reversed(expression.months):
            if (year, month) > start[:2]:
                continue
            for day in reversed(_days(expression, year, month)):
                if (year, month, day) > start:
                    continue
                is_start = (year, month, day) == start
                day_of_month = date(year, month, day)
                for clock in _times_back(expression, not_after.time() if is_start else time.max):
                    yield datetime.combine(day_of_month, clock)


def _years(expression: CronExpression, years: range) -> Iterable[int]:
    return years if expression.years is None else (year for year in years if year in expression.years)


def _days(expression: CronExpression, year: int, month: int) -> list[int]:
    # `monthrange` counts weekdays from Monday, an expression from Sunday: its number for the first of the month is
    # ours for the day before.
    weekday_before, length = monthrange(year, month)
    if expression.one_day_field_suffices:
        return [
            day
            for day in range(1, length + 1)
            if day in expression.days or (weekday_before + day) % _DAYS_IN_WEEK in expression.weekdays
        ]
    return [
        day
        for day in expression.days
        if day <= length and (weekday_before + day) % _DAYS_IN_WEEK in expression.weekdays
    ]


def _times_ahead(expression: CronExpression, start: time) -> Iterator[time]:
    """Yield the times of a day, from the first that is not before the given one."""
    for hour in expression.hours:
        if hour < start.hour:
            continue
        for minute in expression.minutes:
            if (hour, minute) < (start.hour, start.minute):
                continue
            for second in expression.seconds:
                if (hour, minute, second) >= (start.hour, start.minute, start.second):
                    yield time(hour, minute, second)


def _times_back(expression: CronExpression, end: time) -> Iterator[time]:
    """Yield the times of a day backwards, from the last that is not after the given one."""
    for hour in reversed(expression.hours):
        if hour > end.hour:
            continue
        for minute in reversed(expression.minutes):
            if (hour, minute) > (end.hour, end.minute):
                continue
            for second in reversed(expression.seconds):
                if (hour, minute, second) <= (end.hour, end.minute, end.second):
                    yield time(hour, minute, second)
