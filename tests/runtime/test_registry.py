"""Registering handlers."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import InvalidArgumentError, JobContext, JobDefinition, JobFailure, JobHandler, JsonValue
from runledger.core.errors import BlankJobTypeError
from runledger.runtime import JobRegistry

JOB = UUID("018fa1f8-0000-7000-8000-000000000123")
BUSY = JobFailure.retryable("smtp.busy", "try later")


class Mailer(JobHandler):
    job_type = "email.send"

    async def execute(self, context: JobContext, payload: JsonValue) -> JsonValue | None:
        return [context.attempt, payload]


class PlainMailer:
    job_type = "email.send"

    def execute(self, context: JobContext, payload: JsonValue) -> JsonValue | None:
        return [context.attempt, payload]


class CallableMailer:
    async def __call__(self, context: JobContext, payload: Any) -> None:
        assert all([context, payload])


async def send(context: JobContext, payload: Any) -> None:
    assert all([context, payload])


def send_plainly(context: JobContext, payload: Any) -> None:
    assert all([context, payload])


async def send_from(sender: str, context: JobContext, payload: Any) -> None:
    assert all([sender, context, payload])


def test_the_decorator_returns_the_function_as_it_was() -> None:
    assert JobRegistry().job("email.send")(send) is send


def test_a_decorated_function_serves_its_type() -> None:
    registry = JobRegistry()

    registry.job("email.send")(send)

    registered = registry.get("email.send")
    assert registered is not None
    assert registered.execute is send
    assert registered.on_dead_letter is None
    assert registry.get("email.receive") is None


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (send, True),
        (functools.partial(send_from, "a@example.org"), True),
        (CallableMailer(), True),
        (send_plainly, False),
    ],
    ids=["coroutine-function", "partial", "callable-object", "plain-function"],
)
def test_coroutine_functions_are_told_from_plain_ones(function: Any, is_async: bool) -> None:  # noqa: FBT001 - parametrized
    registry = JobRegistry()

    registry.job("email.send")(function)

    registered = registry.get("email.send")
    assert registered is not None
    assert registered.is_async is is_async


def test_a_handler_object_serves_the_type_it_names() -> None:
    registry = JobRegistry()
    mailer = Mailer()

    registry.register(mailer)

    registered = registry.get("email.send")
    assert registered is not None
    assert registered.is_async
    assert registered.on_dead_letter == mailer.on_dead_letter


def test_any_object_of_the_shape_is_a_handler() -> None:
    registry = JobRegistry()

    registry.register(PlainMailer())  # pyright: ignore[reportArgumentType]

    registered = registry.get("email.send")
    assert registered is not None
    assert not registered.is_async
    assert registered.on_dead_letter is None


def test_registering_a_type_again_replaces_its_handler() -> None:
    registry = JobRegistry()
    registry.register(Mailer(), max_attempts=3)

    registry.job("email.send")(send)

    registered = registry.get("email.send")
    assert registered is not None
    assert registered.execute is send
    assert registry.definitions() == [JobDefinition(job_type="email.send")]


def test_types_and_definitions_are_sorted() -> None:
    registry = JobRegistry()
    registry.job("b", max_attempts=2, timeout=timedelta(minutes=1), priority=-5)(send)
    registry.job("a")(send)

    assert registry.registered_types() == ["a", "b"]
    assert registry.definitions() == [
        JobDefinition(job_type="a"),
        JobDefinition(job_type="b", max_attempts=2, default_timeout=timedelta(minutes=1), default_priority=-5),
    ]


async def swaps(payload: Any, context: Any) -> None:
    assert all([context, payload])


def test_a_handler_with_swapped_parameters_is_refused() -> None:
    """It would take the payload for the context."""
    with pytest.raises(InvalidArgumentError, match=r"swaps takes the context second; the first is the context"):
        JobRegistry().job("email.send")(swaps)


@pytest.mark.parametrize(
    ("retry_on", "problem"),
    [
        (OSError, "is of type type; pass a tuple"),
        ([OSError], "is of type list; pass a tuple"),
        ((OSError()), "is of type OSError; pass a tuple"),
        ((int,), "contains int; pass classes of exceptions"),
        ((OSError, KeyboardInterrupt), "contains KeyboardInterrupt; pass classes"),
        ((OSError("secret"),), "contains an object of type OSError; pass classes"),
    ],
)
def test_what_is_no_exception_to_retry_is_refused_where_it_is_written(retry_on: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"retry_on: {problem}"):
        JobRegistry().job("email.send", retry_on=retry_on)
    with pytest.raises(InvalidArgumentError, match=f"retry_on: {problem}"):
        JobRegistry().register(Mailer(), retry_on=retry_on)


async def takes_one(context: JobContext) -> None:
    assert context


async def needs_three(context: JobContext, payload: Any, more: str) -> None:
    assert all([context, payload, more])


async def needs_a_keyword(context: JobContext, payload: Any, *, more: str) -> None:
    assert all([context, payload, more])


def generates(context: JobContext, payload: Any) -> Generator[Any]:
    yield context, payload


async def generates_later(context: JobContext, payload: Any) -> AsyncGenerator[Any]:
    yield context, payload


@pytest.mark.parametrize(
    "function",
    [takes_one, needs_three, needs_a_keyword, generates, generates_later, "not a function", type, None],
)
def test_what_cannot_handle_a_job_is_refused(function: Any) -> None:
    """Also generators: calling one runs nothing of it, so the job would end without having begun."""
    registry = JobRegistry()

    with pytest.raises(InvalidArgumentError) as caught:
        registry.job("email.send")(function)

    assert caught.value.field == "function"
    assert registry.registered_types() == []


@pytest.mark.parametrize("job_type", ["", " "])
def test_a_blank_type_is_refused(job_type: str) -> None:
    registry = JobRegistry()
    mailer = Mailer()
    mailer.job_type = job_type

    with pytest.raises(BlankJobTypeError):
        registry.job(job_type)(send)
    with pytest.raises(BlankJobTypeError):
        registry.register(mailer)


def test_a_handler_without_a_type_is_refused() -> None:
    class Anonymous(JobHandler):
        async def execute(self, context: JobContext, payload: JsonValue) -> JsonValue | None:
            return [context.attempt, payload]

    with pytest.raises(BlankJobTypeError):
        JobRegistry().register(Anonymous())


@pytest.mark.parametrize(
    ("setting", "value"), [("max_attempts", 0), ("timeout", timedelta(milliseconds=1_500)), ("priority", "high")]
)
def test_a_default_that_breaks_a_rule_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        JobRegistry().job("email.send", **{setting: value})(send)


@pytest.mark.parametrize("attempt", [1, 2, 6, 100])
def test_without_an_override_the_policy_gives_the_delay(attempt: int) -> None:
    """WRK-011."""
    delay = JobRegistry().retry_delay("email.send", JOB, attempt, BUSY)

    spread = timedelta(milliseconds=JOB.int % 1000 - 500)
    assert delay == min(timedelta(seconds=5 * 2 ** min(attempt, 10)), timedelta(seconds=300)) + spread
    assert delay >= timedelta(seconds=1)


def test_an_override_replaces_the_policy_for_its_type_and_code_only() -> None:
    """WRK-012."""
    registry = JobRegistry()
    registry.register_retry_delay_override("email.send", "smtp.busy", timedelta(milliseconds=1))

    assert registry.retry_delay("email.send", JOB, 1, BUSY) == timedelta(milliseconds=1)
    assert registry.retry_delay("sms.send", JOB, 1, BUSY) > timedelta(seconds=1)
    rejected = JobFailure.retryable("smtp.rejected", "try later")
    assert registry.retry_delay("email.send", JOB, 1, rejected) > timedelta(seconds=1)


def test_the_delay_of_the_failure_itself_comes_first() -> None:
    registry = JobRegistry()
    registry.register_retry_delay_override("email.send", "smtp.busy", timedelta(minutes=1))
    failure = JobFailure.retryable("smtp.busy", "try later", retry_in=timedelta(seconds=3))

    assert registry.retry_delay("email.send", JOB, 1, failure) == timedelta(seconds=3)


@pytest.mark.parametrize("delay", [timedelta(), timedelta(seconds=-1)])
def test_an_override_that_is_not_positive_is_refused(delay: timedelta) -> None:
    """WRK-013."""
    with pytest.raises(InvalidArgumentError, match="is not positive"):
        JobRegistry().register_retry_delay_override("email.send", "smtp.busy", delay)
