"""The rules of a request for a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runledger.core import BlankJobTypeError, CatchUp, InvalidArgumentError, InvalidCronError, Overlap, ScheduleRequest
from runledger.core.schedules.schedule import check_next_fire_at


def request(**fields: Any) -> ScheduleRequest:
    required: dict[str, Any] = {"name": "nightly", "job_type": "report.build", "cron_expr": "30 2 * * *"}
    return ScheduleRequest(**required | fields)


def test_what_is_not_said_is_the_simplest() -> None:
    asked = request()

    assert (asked.payload_template, asked.organization_id, asked.timezone) == ({}, None, "UTC")
    assert (asked.max_jitter_seconds, asked.catch_up, asked.overlap) == (0, CatchUp.LATEST, Overlap.ALLOW)
    assert asked.is_active


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": ""}, "job_schedule.invalid_name"),
        ({"name": " "}, "job_schedule.invalid_name"),
        ({"name": " nightly"}, "job_schedule.invalid_name"),
        ({"name": "nightly\n"}, "job_schedule.invalid_name"),
        ({"name": "a\0b"}, "job_schedule.invalid_name"),
        ({"name": "\N{SNOWMAN}" * 342}, "job_schedule.invalid_name"),
        ({"name": 7}, "job_schedule.invalid_name"),
        ({"cron_expr": ""}, "job_schedule.invalid_cron"),
        ({"cron_expr": " 30 2 * * *"}, "job_schedule.invalid_cron"),
        ({"cron_expr": "30 2 * * * "}, "job_schedule.invalid_cron"),
        ({"cron_expr": "30 25 * * *"}, "job_schedule.invalid_cron"),
        ({"cron_expr": None}, "job_schedule.invalid_cron"),
        ({"timezone": " "}, "job_schedule.invalid_timezone"),
        ({"timezone": "UTC "}, "job_schedule.invalid_timezone"),
        ({"timezone": UTC}, "job_schedule.invalid_timezone"),
        ({"max_jitter": timedelta(seconds=-1)}, "job_schedule.invalid_jitter"),
        ({"max_jitter": timedelta(seconds=86_401)}, "job_schedule.invalid_jitter"),
        ({"max_jitter": timedelta(milliseconds=1)}, "job_schedule.invalid_jitter"),
        ({"max_jitter": 30}, "job_schedule.invalid_jitter"),
        ({"catch_up": "latest"}, "argument.invalid"),
        ({"catch_up_limit": 0}, "argument.invalid"),
        ({"catch_up_limit": 1_001}, "argument.invalid"),
        ({"overlap": "skip"}, "argument.invalid"),
        ({"is_active": 1}, "argument.invalid"),
        ({"organization_id": "0198c0de-0000-7000-8000-000000000001"}, "argument.invalid"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_the_name_of_its_field(fields: dict[str, Any], code: str) -> None:
    """SCH-017."""
    with pytest.raises(InvalidArgumentError) as caught:
        request(**fields)

    assert caught.value.code == code
    assert caught.value.field.startswith(next(iter(fields)))  # of an expression it names the part as well


def test_a_blank_job_type_and_a_bad_expression_have_classes_of_their_own() -> None:
    with pytest.raises(BlankJobTypeError):
        request(job_type=" ")
    with pytest.raises(InvalidCronError):
        request(cron_expr="often")


def test_the_limits_themselves_are_allowed() -> None:
    assert request(name="\N{SNOWMAN}" * 341, max_jitter=timedelta(days=1), catch_up_limit=1_000).max_jitter_seconds == (
        86_400
    )


def test_the_payload_is_not_shown() -> None:
    assert "secret" not in repr(request(payload_template={"token": "secret"}))


@pytest.mark.parametrize(
    "value",
    ["tomorrow", datetime(2026, 1, 1), datetime(1, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)],  # noqa: DTZ001 - the naive one is refused
    ids=["text", "naive", "early", "late"],
)
def test_only_an_instant_with_room_on_both_sides_can_be_the_next_due_time(value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_next_fire_at(value)

    assert caught.value.field == "next_fire_at"
