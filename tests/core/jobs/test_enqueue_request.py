"""Enqueue requests are checked when they are made."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import JobType
from runledger.core.jobs.enqueue_request import EnqueueRequest
from runledger.core.jobs.status import JobStage

INT32_MAX = 2**31 - 1
INT32_MIN = -(2**31)
NOON = datetime(2026, 5, 26, 12, tzinfo=UTC)


class NoOffset(tzinfo):
    """A time zone that does not know its offset: such a datetime is naive whatever its tzinfo says."""

    def utcoffset(self, dt: datetime | None) -> None:  # noqa: ARG002 - named by the base class
        return None

    def __repr__(self) -> str:
        return "NoOffset()"  # without an address: the processes of a test run compare the names of tests


def test_type_and_payload_are_enough() -> None:
    request = EnqueueRequest("email.send", {"to": "a@example.org"})

    assert request.job_type == "email.send"
    assert request.payload == {"to": "a@example.org"}
    assert (request.organization_id, request.priority, request.max_attempts) == (None, None, None)
    assert (request.timeout, request.timeout_seconds, request.run_at, request.run_in) == (None,) * 4
    assert request.stage == "queued"


def test_settings_are_passed_by_name_only() -> None:
    with pytest.raises(TypeError):
        EnqueueRequest("email.send", None, UUID(int=1))  # type: ignore[misc]  # pyright: ignore[reportCallIssue]


def test_a_request_does_not_change() -> None:
    request = EnqueueRequest("email.send", None)

    with pytest.raises(FrozenInstanceError):
        request.priority = 3  # pyright: ignore[reportAttributeAccessIssue]


@given(
    priority=st.none() | st.integers(INT32_MIN, INT32_MAX),
    max_attempts=st.none() | st.integers(1, INT32_MAX),
    timeout_seconds=st.none() | st.integers(1, INT32_MAX),
    run_at=st.none()
    | st.datetimes(
        min_value=datetime(2, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        max_value=datetime(9998, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        timezones=st.timezones(),
    ),
    stage=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=256).filter(
        str.strip
    ),
)
def test_every_setting_within_its_rules_is_accepted_and_kept(
    priority: int | None,
    max_attempts: int | None,
    timeout_seconds: int | None,
    run_at: datetime | None,
    stage: str,
) -> None:
    timeout = None if timeout_seconds is None else timedelta(seconds=timeout_seconds)
    request = EnqueueRequest(
        "email.send",
        None,
        organization_id=UUID(int=1),
        priority=priority,
        max_attempts=max_attempts,
        timeout=timeout,
        run_at=run_at,
        stage=stage,
    )

    assert (request.priority, request.max_attempts) == (priority, max_attempts)
    assert (request.timeout, request.timeout_seconds) == (timeout, timeout_seconds)
    assert (request.run_at, request.stage) == (run_at, stage)


@pytest.mark.parametrize("job_type", ["", " ", "\t\n", JobType.unchecked("  ")])
def test_a_blank_job_type_is_refused_also_when_unchecked(job_type: str) -> None:
    """CORE-001, CORE-004."""
    with pytest.raises(BlankJobTypeError):
        EnqueueRequest(job_type, None)


class NamedJobs(str, Enum):  # noqa: UP042 - the older idiom is in use
    SEND = "email.send"


@pytest.mark.parametrize("job_type", [JobType("email.send"), NamedJobs.SEND], ids=["JobType", "Enum"])
def test_any_string_type_may_name_the_job(job_type: str) -> None:
    assert EnqueueRequest(job_type, None).job_type == "email.send"


BAD_SETTINGS: list[tuple[str, Any]] = [
    ("job_type", None),
    ("job_type", 5),
    ("job_type", "nul\0"),
    ("job_type", "lone\ud800"),
    ("organization_id", "018fa1f8-0000-7000-8000-000000000123"),
    ("organization_id", 1),
    ("priority", True),
    ("priority", 1.0),
    ("priority", "1"),
    ("priority", INT32_MAX + 1),
    ("priority", INT32_MIN - 1),
    ("max_attempts", 0),
    ("max_attempts", -1),
    ("max_attempts", INT32_MAX + 1),
    ("max_attempts", True),
    ("max_attempts", 2.0),
    ("timeout", timedelta(0)),
    ("timeout", timedelta(seconds=-1)),
    ("timeout", timedelta(seconds=1, microseconds=1)),
    ("timeout", timedelta(milliseconds=500)),
    ("timeout", timedelta(seconds=INT32_MAX + 1)),
    ("timeout", timedelta.max),
    ("timeout", 30),
    ("timeout", True),
    ("run_at", NOON.replace(tzinfo=None)),
    ("run_at", NOON.replace(tzinfo=NoOffset())),
    ("run_at", NOON.date()),
    ("run_at", "2026-05-26T12:00:00Z"),
    ("run_at", datetime.max.replace(tzinfo=UTC)),
    ("run_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))),
    ("run_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=23)))),
    ("run_in", timedelta(microseconds=-1)),
    ("run_in", timedelta(days=365_001)),
    ("run_in", 5),
    ("stage", ""),
    ("stage", " \t"),
    ("stage", None),
    ("stage", 1),
    ("stage", "nul\0"),
    ("stage", "é" * 512 + "x"),
]


@pytest.mark.parametrize(
    ("name", "value"), BAD_SETTINGS, ids=[f"{name}={value!a:.150}" for name, value in BAD_SETTINGS]
)
def test_a_setting_that_breaks_a_rule_is_refused_by_its_name(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"job_type": "email.send", "payload": None, name: value}

    with pytest.raises(InvalidArgumentError) as caught:
        EnqueueRequest(**arguments)

    assert caught.value.field == name
    assert caught.value.code == "argument.invalid"


def test_run_at_and_run_in_exclude_each_other() -> None:
    with pytest.raises(InvalidArgumentError, match="run_in: is given together with run_at"):
        EnqueueRequest("email.send", None, run_at=NOON, run_in=timedelta(0))


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(microseconds=1), timedelta(days=365_000)])
def test_a_delay_from_zero_to_a_thousand_years_is_accepted(delay: timedelta) -> None:
    assert EnqueueRequest("email.send", None, run_in=delay).run_in == delay


def test_a_stage_may_be_a_member_of_the_enumeration() -> None:
    assert EnqueueRequest("email.send", None, stage=JobStage.SCHEDULED).stage == "scheduled"


def test_the_payload_is_not_in_the_repr() -> None:
    request = EnqueueRequest("email.send", {"card": "4111-secret"}, priority=3)

    assert "4111-secret" not in repr(request) + str(request)
    assert "priority=3" in repr(request)


@pytest.mark.parametrize("key", ["", " \t", "nul\0", "\ud800", 17, "x" * 1_025, "\N{SNOWMAN}" * 342])
def test_a_key_that_no_index_could_hold_is_refused_without_showing_it(key: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        EnqueueRequest("email.send", None, idempotency_key=key)

    assert caught.value.field == "idempotency_key"
    assert "xxx" not in str(caught.value)


def test_a_key_may_be_1024_bytes_long() -> None:
    assert EnqueueRequest("email.send", None, idempotency_key="x" * 1_024).idempotency_key == "x" * 1_024


@pytest.mark.parametrize(
    ("timeout", "problem"),
    [
        (timedelta(days=99_999), "is too long"),
        (timedelta(0), "is not positive"),
        (timedelta(seconds=-3), "is not positive"),
        (timedelta(milliseconds=1_500), "has a fraction of a second"),
    ],
)
def test_a_timeout_out_of_range_is_told_apart(timeout: timedelta, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^timeout: {problem}; "):
        EnqueueRequest("email.send", None, timeout=timeout)
