"""The local times that a cron expression names, without regard to any time zone.

The search goes field by field, from the year to the second, so a fire that is years away costs no more than the
months between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterable
from datetime import date, datetime, time

from runledger.core.schedules.cron_expression import CronExpression

_DAYS_IN_WEEK = 7


def first_match(expression: CronExpression, not_before: datetime, *, last_year: int) -> datetime | None:
    """Return the first local time of an expression that is not before the given one.

    Args:
        expression: Which times.
        not_before: A local time without a zone, in whole seconds.
        last_year: Where the search ends.

    Returns:
        A local time without a zone, or ``None`` if there is none up to the end of that year.
    """
    start = not_before.year, not_before.month, not_before.day
    for year in _years(expression, range(not_before.year, last_year + 1)):
        for month in expression.months:
            if (year, month) < start[:2]:
                continue
            for day in _days(expression, year, month):
                if (year, month, day) < start:
                    continue
                is_start = (year, month, day) == start
                clock = _time_not_before(expression, not_before.time() if is_start else time.min)
                if clock is not None:
                    return datetime.combine(date(year, month, day), clock)
    return None


def last_match(expression: CronExpression, not_after: datetime, *, first_year: int) -> datetime | None:
    """Return the last local time of an expression that is not after the given one.

    Args:
        expression: Which times.
        not_after: A local time without a zone, in whole seconds.
        first_year: Where the search ends.

    Returns:
        A local time without a zone, or ``None`` if there is none down to the beginning of that year.
    """
    start = not_after.year, not_after.month, not_after.day
    for year in _years(expression, range(not_after.year, first_year - 1, -1)):
        for month in reversed(expression.months):
            if (year, month) > start[:2]:
                continue
            for day in reversed(_days(expression, year, month)):
                if (year, month, day) > start:
                    continue
                is_start = (year, month, day) == start
                clock = _time_not_after(expression, not_after.time() if is_start else time.max)
                if clock is not None:
                    return datetime.combine(date(year, month, day), clock)
    return None


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


def _time_not_before(expression: CronExpression, start: time) -> time | None:
    hours, minutes, seconds = expression.hours, expression.minutes, expression.seconds
    if start.hour in hours:
        if start.minute in minutes:
            second = _at_or_above(seconds, start.second)
            if second is not None:
                return time(start.hour, start.minute, second)
        minute = _at_or_above(minutes, start.minute + 1)
        if minute is not None:
            return time(start.hour, minute, seconds[0])
    hour = _at_or_above(hours, start.hour + 1)
    return None if hour is None else time(hour, minutes[0], seconds[0])


def _time_not_after(expression: CronExpression, end: time) -> time | None:
    hours, minutes, seconds = expression.hours, expression.minutes, expression.seconds
    if end.hour in hours:
        if end.minute in minutes:
            second = _at_or_below(seconds, end.second)
            if second is not None:
                return time(end.hour, end.minute, second)
        minute = _at_or_below(minutes, end.minute - 1)
        if minute is not None:
            return time(end.hour, minute, seconds[-1])
    hour = _at_or_below(hours, end.hour - 1)
    return None if hour is None else time(hour, minutes[-1], seconds[-1])


def _at_or_above(numbers: tuple[int, ...], number: int) -> int | None:
    position = bisect_left(numbers, number)
    return numbers[position] if position < len(numbers) else None


def _at_or_below(numbers: tuple[int, ...], number: int) -> int | None:
    position = bisect_right(numbers, number)
    return numbers[position - 1] if position else None
