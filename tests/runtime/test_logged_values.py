"""Copies of what applications log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from runledger.core.json_form import json_form
from runledger.runtime.logged_values import NoRoomError, logged_text, logged_value
from tests.runtime.hostile_values import (
    SECRET,
    BrokenDict,
    BrokenList,
    Detached,
    Lazy,
    Name,
    NoText,
    Once,
    Part,
    endless,
    nested,
    unset,
)


class Color(Enum):
    RED = "red"


COPIES: dict[str, tuple[object, object]] = {
    "tuple": ((1, 2), [1, 2]),
    "enum member": (Color.RED, "red"),
    "decimal": (Decimal("1.50"), "1.50"),
    "UUID": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "instant": (datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01T00:00:00+00:00"),
    "dataclass": (Part(), {"a": 1}),
    "set": ({1}, "{1}"),
    "keys": ({(1, 2): 3, None: 4}, {"(1, 2)": 3, "None": 4}),
    "NaN": (float("nan"), "nan"),
    "others that are not finite": ([float("-inf"), Decimal("NaN")], ["-inf", "NaN"]),
    "too many digits": (10**5_000, "<int: ValueError>"),
    "no text": (NoText(), "<NoText: LookupError>"),
    "property that raises": ([Detached(1)], ["<Detached: LookupError>"]),
    "missing attribute": (unset(), "<Part: AttributeError>"),
    "dict that raises": (BrokenDict(a=1), "{'a': 1}"),
    "list that raises": (BrokenList([1]), "[1]"),
    "class that raises": (Lazy(), "lazy"),
    "other at the second time": (Once(), {"a": 1.0}),
    "text that raises": ({Name("key"): Name("value")}, {"key": "value"}),
    "cycle": (endless(), [1, "<list, contains itself>"]),
}
"""What is logged, and what stands for it."""


def copied(value: object) -> Any:
    return logged_value(value, room=10_000, form=json_form)[0]


@pytest.mark.parametrize("value", [None, True, 0, -17, 1.5, "", "text \ud800", [], {}, {"a": [1, {"b": None}]}])
def test_what_json_has_stays_as_it_is(value: object) -> None:
    assert copied(value) == value


@pytest.mark.parametrize(("value", "copy"), COPIES.values(), ids=COPIES)
def test_a_text_stands_for_what_json_cannot_hold_or_nobody_can_read(value: object, copy: object) -> None:
    assert copied(value) == copy
    assert SECRET not in json.dumps(copied(value))


def test_what_is_said_twice_side_by_side_does_not_contain_itself() -> None:
    twice = [1]

    assert copied([twice, twice]) == [[1], [1]]


def test_what_is_nested_deep_ends_in_a_text() -> None:
    shallow, deep = json.dumps(copied(nested(49))), json.dumps(copied(nested(100_000)))

    assert shallow == "[" * 50 + "]" * 50
    assert deep == "[" * 50 + '"<list, nested too deep>"' + "]" * 50


@pytest.mark.parametrize("value", ["x" * 9, list(range(10)), {"a": 1, "bc": 2}, 10**10])
def test_what_takes_too_much_room_is_refused(value: object) -> None:
    with pytest.raises(NoRoomError):
        logged_value(value, room=10, form=json_form)


def test_room_ends_what_would_grow_without_end() -> None:
    """Forty lists, each of which has the next one twice."""
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]

    with pytest.raises(NoRoomError):
        copied(value)


def test_the_room_that_is_left_is_told() -> None:
    assert logged_value("abc", room=10, form=json_form) == ("abc", 5)


def test_the_text_of_a_value_is_a_plain_one() -> None:
    assert type(logged_text(Name("name"))) is str
