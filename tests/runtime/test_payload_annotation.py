"""Payloads decoded by the annotation of their handler."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from runledger.core import InvalidArgumentError, JobContext, JobDeadLetterInfo, JobFailure, JobHandler, JobStatus
from runledger.runtime import JobRegistry
from tests.runtime.app import App

if TYPE_CHECKING:
    from fractions import Fraction
    from typing import Never as OnlyForTypeCheckers


@dataclass(frozen=True)
class Invoice:
    id: UUID
    amount: int


Register = Callable[[JobRegistry], object]

INVOICE = Invoice(UUID(int=1), 4200)


class Biller(JobHandler):
    job_type = "invoice.send"

    def __init__(self) -> None:
        self.seen: list[object] = []

    async def execute(self, context: JobContext, payload: Invoice) -> Invoice:
        self.seen.append(payload)
        if payload.amount < 0:
            raise JobFailure.terminal("invoice.negative", f"attempt {context.attempt} is for nothing")
        return payload

    async def on_dead_letter(self, context: JobContext, payload: Invoice, info: JobDeadLetterInfo) -> None:
        self.seen.append((context.attempt, payload, info.failure.code))


def bill(context: JobContext, payload: Invoice) -> None:
    assert all([context, payload])


def bill_from(sender: str, context: JobContext, payload: Invoice) -> None:
    assert all([sender, context, payload])


@functools.wraps(bill)
def bill_audited(*arguments: Any) -> None:
    bill(*arguments)


class CallableBiller:
    def __call__(self, context: JobContext, payload: Invoice) -> None:
        bill(context, payload)


def bill_with_foreign_context(context: OnlyForTypeCheckers, payload: Invoice) -> None:
    bill(context, payload)


@pytest.mark.parametrize(
    "function",
    [
        bill,
        functools.partial(bill_from, "a@example.org"),
        bill_audited,
        CallableBiller(),
        CallableBiller().__call__,
        bill_with_foreign_context,
    ],
    ids=["function", "partial", "wrapped", "callable-object", "method", "unresolvable-context"],
)
def test_the_annotation_is_found_whatever_the_handler_is(function: Callable[[Any, Any], None]) -> None:
    """Only the annotation of the payload is looked at: the others may be for type checkers alone."""
    registry = JobRegistry()

    registry.job("invoice.send")(function)

    registered = registry.get("invoice.send")
    assert registered is not None
    assert registered.decode_payload is not None
    assert registered.decode_payload({"id": str(INVOICE.id), "amount": 4200}) == INVOICE


def takes_texts(context: JobContext, payload: dict[str, str]) -> None:
    assert all([context, payload])


def takes_arguments(*arguments: Invoice) -> None:
    assert arguments


@pytest.mark.parametrize("function", [takes_texts, takes_arguments, lambda *_: None])  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
def test_plain_payloads_are_handed_over_as_they_are(function: Callable[[Any, Any], None]) -> None:
    registry = JobRegistry()

    registry.job("invoice.send")(function)

    registered = registry.get("invoice.send")
    assert registered is not None
    assert registered.decode_payload is None


def takes_a_set(context: JobContext, invoice_ids: set[int]) -> None:
    assert all([context, invoice_ids])


def takes_a_fraction(context: JobContext, payload: Fraction) -> None:
    assert all([context, payload])


class BadHook(Biller):
    async def on_dead_letter(self, context: JobContext, payload: set[int], info: JobDeadLetterInfo) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert all([context, payload, info])


REFUSED: list[tuple[Register, str]] = [
    (
        lambda registry: registry.job("invoice.send")(takes_a_set),
        "function: takes_a_set, parameter 'invoice_ids': its annotation names set[int], to which JSON cannot",
    ),
    (
        lambda registry: registry.job("invoice.send")(takes_a_fraction),
        "function: takes_a_fraction, parameter 'payload': its annotation names 'Fraction', which its module",
    ),
    (
        lambda registry: registry.register(BadHook()),
        "function: BadHook.on_dead_letter, parameter 'payload': its annotation names set[int], to which JSON",
    ),
]


@pytest.mark.parametrize(("register", "message"), REFUSED, ids=["decorator", "type-checking-only", "hook"])
def test_what_cannot_be_decoded_is_refused_when_it_is_registered(register: Register, message: str) -> None:
    registry = JobRegistry()

    with pytest.raises(InvalidArgumentError) as caught:
        register(registry)

    assert str(caught.value).startswith(message)
    assert caught.value.remedy
    assert registry.registered_types() == []


async def test_an_instance_that_is_enqueued_reaches_the_handler_and_comes_back_as_output(app: App) -> None:
    biller = Biller()
    app.registry.register(biller)

    job = await app.run("invoice.send", INVOICE)

    assert job.status is JobStatus.SUCCEEDED
    assert biller.seen == [INVOICE]
    assert job.payload == job.output == {"id": str(INVOICE.id), "amount": 4200}


REGISTERED: dict[str, Register] = {
    "object": lambda registry: registry.register(Biller()),
    "function": lambda registry: registry.job("invoice.send")(bill),
}


@pytest.mark.parametrize("register", REGISTERED.values(), ids=REGISTERED)
async def test_a_payload_that_does_not_fit_fails_for_good_without_a_call(
    app: App, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    register(app.registry)

    job = await app.run("invoice.send", {"id": str(INVOICE.id), "amount": "4111-secret"})

    assert job.status is JobStatus.DEAD_LETTERED
    assert job.last_error_code == "job.payload_invalid"
    assert job.last_error_message == "payload.amount: expected integer, found text"
    assert "4111-secret" not in caplog.text


async def test_the_hook_of_a_dead_letter_gets_the_decoded_payload(app: App) -> None:
    biller = Biller()
    app.registry.register(biller)
    refund = Invoice(UUID(int=1), -1)

    await app.run("invoice.send", refund)

    assert biller.seen == [refund, (1, refund, "invoice.negative")]
