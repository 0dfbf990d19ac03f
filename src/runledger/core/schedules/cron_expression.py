"""Cron expressions of two dialects, told apart by their number of fields.

Five fields are Vixie cron as Debian has it. Six or seven have the second first, an optional year last, and Sunday is
1. Beside the fields and the numbers of weekdays they differ in how the two day fields combine, and in what becomes of a
local time that the clock skips or shows twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from runledger.core.errors import InvalidCronError
from runledger.core.printable import shortened

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN_WEEK = 7

# A leap year: what does not occur in it, occurs in none.
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_SHORTCUTS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

# Longer than any number that a field has; Python refuses to read thousands of digits.
_MAX_DIGITS = 4


class CronDialect(StrEnum):
    """How an expression is read; its number of fields decides."""

    VIXIE = "vixie"
    """Five fields, from minute to day-of-week, as in Debian's crontab, or a shortcut such as ``@daily``."""

    SECONDS = "seconds"
    """Six or seven fields, from second to day-of-week or year; Sunday is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronExpression:
    """A cron expression that was read; made by :func:`parse_cron`.

    Each group of numbers is in ascending order, without repeats, and not empty.

    Attributes:
        text: The expression as it was written.
        dialect: How it was read.
        seconds: 0 to 59; zero alone in five fields.
        minutes: 0 to 59.
        hours: 0 to 23.
        days: Days of the month, 1 to 31.
        months: 1 to 12.
        weekdays: 0 to 6, from Sunday to Saturday in either dialect.
        years: 1970 to 2100, or ``None`` for every year.
        one_day_field_suffices: A day fits when it is in ``days`` or in ``weekdays``, not only when it is in both.
        follows_wall_clock: The expression fires whenever the clock on the wall shows one of its times: never when
            the time is skipped, twice when it is repeated. Otherwise it fires once for each of its times.
    """

    text: str
    dialect: CronDialect
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    years: tuple[int, ...] | None
    one_day_field_suffices: bool
    follows_wall_clock: bool


def parse_cron(text: str) -> CronExpression:
    """Read a cron expression.

    Args:
        text: Five, six or seven fields with blanks between them, or a shortcut such as ``@daily``.

    Raises:
        InvalidCronError: ``job_schedule.invalid_cron``. The expression cannot be read, or names days that no year
            has, such as 30 February; the text names the field, what stands there, and the remedy.
    """
    field_texts = _split(text)
    if len(field_texts) == len(_VIXIE_FIELDS):
        expression = _vixie(text, field_texts)
    elif len(field_texts) in {len(_SECONDS_FIELDS) - 1, len(_SECONDS_FIELDS)}:
        expression = _with_seconds(text, field_texts)
    else:
        raise InvalidCronError(
            "cron_expr",
            f"has {len(field_texts)} field{'s' if len(field_texts) > 1 else ''}",
            "write five (minute hour day-of-month month day-of-week), six with the second before them, or seven "
            "with the year behind them",
        )
    _check_day_occurs(expression)
    return expression


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """What a field may hold: numbers from ``low`` to ``high``, and names that stand for the first of them."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    takes_question_mark: bool = False
    takes_step_of_number: bool = False


_VIXIE_FIELDS = (
    _Field(name="minute", low=0, high=59),
    _Field(name="hour", low=0, high=23),
    _Field(name="day-of-month", low=1, high=31),
    _Field(name="month", low=1, high=12, names=_MONTH_NAMES),
    _Field(name="day-of-week", low=0, high=7, names=_WEEKDAY_NAMES),
)

_SECONDS_FIELDS = (
    _Field(name="second", low=0, high=59, takes_step_of_number=True),
    _Field(name="minute", low=0, high=59, takes_step_of_number=True),
    _Field(name="hour", low=0, high=23, takes_step_of_number=True),
    _Field(name="day-of-month", low=1, high=31, takes_question_mark=True, takes_step_of_number=True),
    _Field(name="month", low=1, high=12, names=_MONTH_NAMES, takes_step_of_number=True),
    _Field(
        name="day-of-week",
        low=1,
        high=7,
        names=_WEEKDAY_NAMES,
        takes_question_mark=True,
        takes_step_of_number=True,
    ),
    _Field(name="year", low=1970, high=2100, takes_step_of_number=True),
)


def _split(text: object) -> list[str]:
    if not isinstance(text, str):
        raise InvalidCronError("cron_expr", f"is of type {type(text).__name__}", "pass a str")
    if not text.strip():
        raise InvalidCronError("cron_expr", "is blank", "write an expression, for example '30 2 * * *'")
    if text != text.strip():
        raise InvalidCronError("cron_expr", "begins or ends with a blank", "remove it")
    if text.startswith("@"):
        return _fields_of_shortcut(text)
    return text.split()


def _fields_of_shortcut(text: str) -> list[str]:
    fields = _SHORTCUTS.get(text.lower())
    if fields is None:
        raise InvalidCronError("cron_expr", f"has no shortcut {_quoted(text)}", f"write one of {', '.join(_SHORTCUTS)}")
    return fields.split()


def _vixie(text: str, field_texts: list[str]) -> CronExpression:
    minutes, hours, days, months, weekdays = (
        _numbers(field, field_text) for field, field_text in zip(_VIXIE_FIELDS, field_texts, strict=True)
    )
    # For Vixie cron a field is a wildcard when it begins with a star, whatever follows: `*/2` is one as well.
    minute_is_star, hour_is_star, day_is_star, _, weekday_is_star = (
        field_text.startswith("*") for field_text in field_texts
    )
    return CronExpression(
        text=text,
        dialect=CronDialect.VIXIE,
        seconds=(0,),
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=_ascending(number % _DAYS_IN_WEEK for number in weekdays),
        years=None,
        one_day_field_suffices=not day_is_star and not weekday_is_star,
        follows_wall_clock=minute_is_star or hour_is_star,
    )


def _with_seconds(text: str, field_texts: list[str]) -> CronExpression:
    with_year = field_texts if len(field_texts) == len(_SECONDS_FIELDS) else [*field_texts, "*"]
    seconds, minutes, hours, days, months, weekdays, years = (
        _numbers(field, field_text) for field, field_text in zip(_SECONDS_FIELDS, with_year, strict=True)
    )
    return CronExpression(
        text=text,
        dialect=CronDialect.SECONDS,
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(number - 1 for number in weekdays),
        years=None if with_year[-1] == "*" else years,
        one_day_field_suffices=False,
        follows_wall_clock=True,
    )


def _numbers(field: _Field, text: str) -> tuple[int, ...]:
    members = text.split(",")
    if "" in members:
        _refuse(field, f"has a comma with nothing beside it in {_quoted(text)}", "remove it, or write the number")
    return _ascending(number for member in members for number in _numbers_of_member(field, member))


def _ascending(numbers: Iterator[int]) -> tuple[int, ...]:
    return tuple(sorted(set(numbers)))


def _numbers_of_member(field: _Field, member: str) -> range:
    """Return the numbers of what stands between two commas."""
    whole, slash, step_text = member.partition("/")
    if not whole:
        _refuse(field, f"has nothing before the slash in {_quoted(member)}", f"write {_quoted(f'*{member}')}")
    first_text, dash, last_text = whole.partition("-")
    if whole == "*" or (whole == "?" and field.takes_question_mark and not slash):
        first, last = field.low, field.high
    elif dash:
        first, last = _number(field, first_text, within=whole), _number(field, last_text, within=whole)
        if first > last:
            _refuse(field, f"has the range {_quoted(whole)}, which runs backwards", "write it as two, with a comma")
    else:
        first = _number(field, first_text)
        last = field.high if slash else first
        if slash and not field.takes_step_of_number:
            remedy = f"write {_quoted(f'{first_text}-{field.high}/{step_text}')} if that is meant"
            _refuse(field, f"has a step behind the single number in {_quoted(member)}", remedy)
    return range(first, last + 1, _step(field, step_text) if slash else 1)


def _number(field: _Field, text: str, *, within: str = "") -> int:
    name = text.lower()
    if name in field.names:
        return field.names.index(name) + field.low
    if not _is_number(text):
        names = f", or a name from {field.names[0]} to {field.names[-1]}" if field.names else ""
        # A star can be read, though not as the end of a range, and nothing is not to be found.
        shown = within if within and text in {"", "*"} else text
        _refuse(field, f"has {_quoted(shown)}", f"write * or a number from {field.low} to {field.high}{names}")
    number = int(text)
    if not field.low <= number <= field.high:
        meaning = ", where 1 is Sunday" if field.names == _WEEKDAY_NAMES and field.low else ""
        _refuse(field, f"has {number}", f"write a number from {field.low} to {field.high}{meaning}")
    return number


def _step(field: _Field, text: str) -> int:
    if not _is_number(text) or int(text) == 0:
        problem = f"has the step {_quoted(text)}" if text else "has no step behind the slash"
        _refuse(field, problem, "write a number from 1 behind the slash")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _check_day_occurs(expression: CronExpression) -> None:
    longest = max(_LONGEST_MONTHS[month - 1] for month in expression.months)
    if expression.days[0] > longest and not expression.one_day_field_suffices:
        _refuse(
            _VIXIE_FIELDS[2],
            f"has no day before {expression.days[0]}, and none of its months is so long",
            f"write days up to {longest}, or other months",
        )


def _refuse(field: _Field, problem: str, remedy: str) -> NoReturn:
    raise InvalidCronError(f"cron_expr ({field.name})", problem, remedy)


def _quoted(text: str) -> str:
    return f"'{shortened(text)}'"
