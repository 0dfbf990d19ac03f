"""Identifiers are checked strings that behave like strings."""

import json
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import (
    BlankJobTypeError,
    BlankStepKeyError,
    BlankWorkflowTypeError,
    InvalidArgumentError,
)
from runledger.core.identifiers import JobType, StepKey, WorkflowType

Identifier = type[JobType] | type[WorkflowType] | type[StepKey]

EVERY_KIND: list[Identifier] = [JobType, WorkflowType, StepKey]
BLANK_ERRORS: list[tuple[Identifier, type[InvalidArgumentError]]] = [
    (JobType, BlankJobTypeError),
    (WorkflowType, BlankWorkflowTypeError),
    (StepKey, BlankStepKeyError),
]

kinds = st.sampled_from(EVERY_KIND)
blank_texts = st.text(alphabet=" \t\n\r\v\f\u00a0\u2003\u3000", max_size=5)
storable_texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(str.strip)


@pytest.mark.parametrize(("kind", "blank_error"), BLANK_ERRORS)
@given(text=blank_texts)
def test_blank_text_is_refused_with_the_error_of_the_kind(
    kind: Identifier, blank_error: type[InvalidArgumentError], text: str
) -> None:
    """CORE-001, CORE-002, CORE-003, CORE-006."""
    with pytest.raises(blank_error):
        kind(text)


@given(kind=kinds, text=blank_texts | storable_texts)
def test_the_unchecked_constructor_keeps_any_text(kind: Identifier, text: str) -> None:
    """CORE-004."""
    identifier = kind.unchecked(text)

    assert type(identifier) is kind
    assert identifier == text


@given(kind=kinds, text=storable_texts, other=storable_texts)
def test_an_identifier_equals_hashes_and_orders_like_its_text(kind: Identifier, text: str, other: str) -> None:
    """CORE-005."""
    identifier = kind(text)

    assert identifier == text
    assert hash(identifier) == hash(text)
    assert {text: 1}[identifier] == 1
    assert (identifier < other, identifier == other) == (text < other, text == other)
    assert (repr(identifier), str(identifier)) == (repr(text), text)


@given(kind=kinds, text=storable_texts)
def test_an_identifier_serialises_as_a_plain_string(kind: Identifier, text: str) -> None:
    """CORE-006."""
    assert json.loads(json.dumps(kind(text))) == text


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_surrounding_whitespace_is_kept(kind: Identifier) -> None:
    assert kind("  a ") == "  a "


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("text", ["nul\0", "lone\ud800", "\udfff"])
def test_text_that_postgresql_cannot_store_is_refused(kind: Identifier, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        kind(text)

    assert "PostgreSQL cannot store it" in str(caught.value)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("value", [None, 1, b"email.send", ["email.send"]])
def test_what_is_no_text_is_refused(kind: Identifier, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="pass a str"):
        kind(value)  # pyright: ignore[reportArgumentType]


def test_a_member_of_a_string_enumeration_gives_its_value() -> None:
    class Kinds(str, Enum):  # noqa: UP042 - the older idiom, whose str() is not the value
        SEND = "email.send"

    assert JobType(Kinds.SEND) == "email.send"
    assert str(JobType(Kinds.SEND)) == "email.send"
    assert str(JobType.unchecked(Kinds.SEND)) == "email.send"


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_an_identifier_has_at_most_1024_bytes(kind: Identifier) -> None:
    """Two of them, or one and an idempotency key, fit into an entry of an index."""
    for longest in ("x" * 1_024, "\N{SNOWMAN}" * 341, "\N{PILE OF POO}" * 256):
        assert kind(longest) == longest
    for too_long in ("x" * 1_025, "\N{SNOWMAN}" * 342, "\N{PILE OF POO}" * 257):
        with pytest.raises(InvalidArgumentError, match="longer than 1024 bytes"):
            kind(too_long)
