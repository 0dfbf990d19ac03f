"""Reading cron expressions of both dialects."""

from __future__ import annotations

from typing import Any

import pytest

from runledger.core import CronDialect, CronExpression, InvalidCronError, parse_cron

ALL_DAYS = tuple(range(1, 32))
ALL_WEEKDAYS = tuple(range(7))


def test_five_fields_are_minute_hour_day_month_and_weekday() -> None:
    assert parse_cron("5 4 3 2 1") == CronExpression(
        text="5 4 3 2 1",
        dialect=CronDialect.VIXIE,
        seconds=(0,),
        minutes=(5,),
        hours=(4,),
        days=(3,),
        months=(2,),
        weekdays=(1,),
        years=None,
        one_day_field_suffices=True,
        follows_wall_clock=False,
    )


def test_six_fields_have_the_second_first_and_count_weekdays_from_sunday_as_one() -> None:
    assert parse_cron("6 5 4 3 2 1") == CronExpression(
        text="6 5 4 3 2 1",
        dialect=CronDialect.SECONDS,
        seconds=(6,),
        minutes=(5,),
        hours=(4,),
        days=(3,),
        months=(2,),
        weekdays=(0,),
        years=None,
        one_day_field_suffices=False,
        follows_wall_clock=True,
    )


def test_a_seventh_field_is_the_year() -> None:
    assert parse_cron("0 0 0 1 1 ? 2026-2032/3,2030").years == (2026, 2029, 2030, 2032)
    assert parse_cron("0 0 0 1 1 ? *").years is None


@pytest.mark.parametrize(
    ("field", "minutes"),
    [
        ("*", tuple(range(60))),
        ("*/20", (0, 20, 40)),
        ("*/90", (0,)),
        ("5-9", (5, 6, 7, 8, 9)),
        ("5-5", (5,)),
        ("5-30/10", (5, 15, 25)),
        ("50,10,10", (10, 50)),
        ("*/30,7-8", (0, 7, 8, 30)),
        ("007", (7,)),
    ],
)
def test_a_field_takes_numbers_ranges_steps_and_lists(field: str, minutes: tuple[int, ...]) -> None:
    assert parse_cron(f"{field} * * * *").minutes == minutes
    assert parse_cron(f"0 {field} * * * *").minutes == minutes


def test_a_step_behind_a_single_number_goes_to_the_end_of_the_field_in_six_fields_only() -> None:
    assert parse_cron("0 10/20 * * * *").minutes == (10, 30, 50)
    with pytest.raises(InvalidCronError, match="write '10-59/20' if that is meant"):
        parse_cron("10/20 * * * *")


@pytest.mark.parametrize(
    ("field", "weekdays"),
    [
        ("0", (0,)),
        ("7", (0,)),
        ("sun", (0,)),
        ("SAT", (6,)),
        ("Mon-fri", (1, 2, 3, 4, 5)),
        ("5-7", (0, 5, 6)),
        ("0-7", ALL_WEEKDAYS),
        ("mon,3,Sat", (1, 3, 6)),
    ],
)
def test_weekdays_of_five_fields_go_from_0_to_7_with_sunday_at_both_ends(field: str, weekdays: tuple[int, ...]) -> None:
    assert parse_cron(f"0 0 * * {field}").weekdays == weekdays


@pytest.mark.parametrize(
    ("field", "weekdays"),
    [
        ("1", (0,)),
        ("7", (6,)),
        ("2-6", (1, 2, 3, 4, 5)),
        ("SUN", (0,)),
        ("mon-fri", (1, 2, 3, 4, 5)),
        ("?", ALL_WEEKDAYS),
        ("2/3", (1, 4)),
    ],
)
def test_weekdays_of_six_fields_go_from_1_to_7_with_sunday_first(field: str, weekdays: tuple[int, ...]) -> None:
    assert parse_cron(f"0 0 0 * * {field}").weekdays == weekdays


@pytest.mark.parametrize("prefix", ["", "0 "])
def test_months_have_names_in_either_case(prefix: str) -> None:
    assert parse_cron(f"{prefix}0 0 1 JAN,mar-May/2,12 *").months == (1, 3, 5, 12)


@pytest.mark.parametrize(
    ("text", "suffices"),
    [
        ("0 0 13 * fri", True),
        ("0 0 1-31 * fri", True),
        ("0 0 * * fri", False),
        ("0 0 13 * *", False),
        ("0 0 */2 * fri", False),
        ("0 0 13 * */2", False),
        ("0 0 13 * *,1", False),
        ("0 0 0 13 * fri", False),
    ],
)
def test_one_day_field_suffices_in_five_fields_if_neither_begins_with_a_star(text: str, *, suffices: bool) -> None:
    assert parse_cron(text).one_day_field_suffices is suffices


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("30 2 * * *", False),
        ("0-59 2 * * *", False),
        ("0 0-23 * * *", False),
        ("*/15 2 * * *", True),
        ("30 */2 * * *", True),
        ("30 * * * *", True),
        ("0 30 2 * * *", True),
    ],
)
def test_five_fields_follow_the_wall_clock_if_minute_or_hour_begins_with_a_star(text: str, *, follows: bool) -> None:
    assert parse_cron(text).follows_wall_clock is follows


@pytest.mark.parametrize(
    ("shortcut", "fields"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@Hourly", "0 * * * *"),
    ],
)
def test_a_shortcut_stands_for_five_fields(shortcut: str, fields: str) -> None:
    written, meant = parse_cron(shortcut), parse_cron(fields)

    assert written.text == shortcut
    names = [name for name in CronExpression.__dataclass_fields__ if name != "text"]
    assert [getattr(written, name) for name in names] == [getattr(meant, name) for name in names]


def test_fields_may_have_any_blanks_between_them() -> None:
    assert parse_cron("5  4\t* * *").hours == (4,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cron_expr: is of type NoneType; pass a str"),
        ("", "cron_expr: is blank; write an expression, for example '30 2 * * *'"),
        (" \t", "cron_expr: is blank; write an expression, for example '30 2 * * *'"),
        (" 0 0 * * *", "cron_expr: begins or ends with a blank; remove it"),
        ("0 0 * * *\n", "cron_expr: begins or ends with a blank; remove it"),
    ],
)
def test_a_blank_or_padded_expression_is_refused(text: Any, message: str) -> None:
    """SCH-017."""
    with pytest.raises(InvalidCronError) as caught:
        parse_cron(text)

    assert str(caught.value) == message
    assert caught.value.code == "job_schedule.invalid_cron"


@pytest.mark.parametrize("text", ["0", "0 0 * *", "0 0 0 1 1 ? 2026 0", "@daily 0"])
def test_another_number_of_fields_is_refused(text: str) -> None:
    """SCH-017."""
    with pytest.raises(InvalidCronError, match=r"^cron_expr: has "):
        parse_cron(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60 * * * *", "cron_expr (minute): has 60; write a number from 0 to 59"),
        ("* 24 * * *", "cron_expr (hour): has 24; write a number from 0 to 23"),
        ("* * 0 * *", "cron_expr (day-of-month): has 0; write a number from 1 to 31"),
        ("* * * 13 *", "cron_expr (month): has 13; write a number from 1 to 12"),
        ("* * * * 8", "cron_expr (day-of-week): has 8; write a number from 0 to 7"),
        ("0 * * * * 0", "cron_expr (day-of-week): has 0; write a number from 1 to 7, where 1 is Sunday"),
        ("60 * * * * *", "cron_expr (second): has 60; write a number from 0 to 59"),
        ("0 0 0 1 1 ? 1969", "cron_expr (year): has 1969; write a number from 1970 to 2100"),
        ("a * * * *", "cron_expr (minute): has 'a'; write * or a number from 0 to 59"),
        ("* * ? * *", "cron_expr (day-of-month): has '?'; write * or a number from 1 to 31"),
        ("0 ? * * * *", "cron_expr (minute): has '?'; write * or a number from 0 to 59"),
        (
            "* * * january *",
            "cron_expr (month): has 'january'; write * or a number from 1 to 12, or a name from jan to dec",
        ),
        (
            "0 0 0 ? * 6L",
            "cron_expr (day-of-week): has '6L'; write * or a number from 1 to 7, or a name from sun to sat",
        ),
        (
            "1,,2 * * * *",
            "cron_expr (minute): has a comma with nothing beside it in '1,,2'; remove it, or write the number",
        ),
        ("-5 * * * *", "cron_expr (minute): has '-5'; write * or a number from 0 to 59"),
        ("+5 * * * *", "cron_expr (minute): has '+5'; write * or a number from 0 to 59"),
        ("٣ * * * *", "cron_expr (minute): has '٣'; write * or a number from 0 to 59"),
        ("*-5 * * * *", "cron_expr (minute): has '*-5'; write * or a number from 0 to 59"),
        ("5- * * * *", "cron_expr (minute): has '5-'; write * or a number from 0 to 59"),
        ("/5 * * * *", "cron_expr (minute): has nothing before the slash in '/5'; write '*/5'"),
        ("1-2-3 * * * *", "cron_expr (minute): has '2-3'; write * or a number from 0 to 59"),
        ("*/0 * * * *", "cron_expr (minute): has the step '0'; write a number from 1 behind the slash"),
        ("*/ * * * *", "cron_expr (minute): has no step behind the slash; write a number from 1 behind the slash"),
        ("*/2/3 * * * *", "cron_expr (minute): has the step '2/3'; write a number from 1 behind the slash"),
        (
            "* 22-2 * * *",
            "cron_expr (hour): has the range '22-2', which runs backwards; write it as two, with a comma",
        ),
        (
            "* * * * fri-sun",
            "cron_expr (day-of-week): has the range 'fri-sun', which runs backwards; write it as two, with a comma",
        ),
        (
            "0 0 30,31 2 *",
            (
                "cron_expr (day-of-month): has no day before 30, and none of its months is so long; "
                "write days up to 29, or other months"
            ),
        ),
        (
            "0 0 0 31 4,6 mon",
            (
                "cron_expr (day-of-month): has no day before 31, and none of its months is so long; "
                "write days up to 30, or other months"
            ),
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_field_value_and_remedy(text: str, message: str) -> None:
    """SCH-017."""
    with pytest.raises(InvalidCronError) as caught:
        parse_cron(text)

    assert str(caught.value) == message
    assert caught.value.code == "job_schedule.invalid_cron"


def test_an_unknown_shortcut_is_refused_with_those_that_there_are() -> None:
    """SCH-017."""
    with pytest.raises(InvalidCronError, match="has no shortcut '@reboot'; write one of @yearly, "):
        parse_cron("@reboot")


def test_thousands_of_digits_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidCronError) as caught:
        parse_cron(f"{'1' * 10_000} * * * *")

    assert len(str(caught.value)) < 300


def test_days_that_a_month_lacks_are_no_mistake_where_the_weekday_suffices() -> None:
    assert parse_cron("0 0 30 2 mon").one_day_field_suffices
