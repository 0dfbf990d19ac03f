"""JSON values: what is stored comes back equal, what cannot be stored is refused with its place."""

import json
import traceback
from collections.abc import Callable, ItemsView
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runledger.core.errors import InvalidArgumentError, UndecodableJsonError
from runledger.core.json_value import JsonValue, decode_json, encode_json

# What untyped callers pass: the type checker is not asked, the function is.
Anything: TypeAlias = Any

storable_texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# Keys that look like what json makes of numbers and constants: they make the encoder look twice.
lookalike_keys = st.sampled_from(["1", "-1", "1.5", "1e+16", "true", "false", "null", "sha256", '":', '1":'])
keys = storable_texts | lookalike_keys
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable_texts
    | st.sampled_from(["\\u0000", '\\"1":', '"true":'])
)


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=4) | st.dictionaries(keys, children, max_size=4)


values: st.SearchStrategy[Any] = st.recursive(scalars, containers, max_leaves=12)


def place_in(value: Anything, bad: Anything, draw: Callable[[st.SearchStrategy[Any]], Any]) -> tuple[Anything, str]:
    """Wrap a bad value in layers of valid ones; return the whole and the path of the bad one."""
    path = ""
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            before = draw(st.lists(values, max_size=2))
            bad, path = [*before, bad, value], f"[{len(before)}]{path}"
        else:
            key = draw(st.sampled_from(["a", "items", "b1"]))
            bad, path = {"first": value, key: bad}, f".{key}{path}"
    return bad, path


@given(value=values)
def test_a_value_comes_back_equal(value: Anything) -> None:
    assert decode_json(encode_json(value, field="payload")) == value


@given(value=values)
def test_the_text_is_compact_utf_8_and_holds_nothing_that_jsonb_refuses(value: Anything) -> None:
    text = encode_json(value, field="payload")

    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert text.encode().decode() == text
    assert "\0" not in text


BAD_VALUES = [
    float("nan"),
    float("inf"),
    -float("inf"),
    "nul\0",
    "\\u0000\0",
    "lone\ud800",
    "\ude00\ud83d",
    {1: "int key"},
    {-1: 0},
    {True: 0},
    {False: 0},
    {None: 0},
    {1.5: 0},
    {1e300: 0},
    {-0.0: 0},
    {IntEnum("Number", ["ONE"]).ONE: 0},
    {("a",): 0},
    {"k\0": 0},
    {"k\udc00": 0},
    b"bytes",
    {1, 2},
    object(),
    Decimal("NaN"),
    Decimal("sNaN"),
    timedelta(1),
    Enum("Kind", {"SET": frozenset()}).SET,
    10**5000,
]


class Model:
    """As one of pydantic."""

    def model_dump(self, *, mode: str) -> dict[str, Anything]:
        return {"mode": mode}


@given(data=st.data(), bad=st.sampled_from(BAD_VALUES), value=values)
def test_what_cannot_be_stored_is_refused_with_the_path_of_its_place(
    data: st.DataObject, bad: Anything, value: Anything
) -> None:
    whole, path = place_in(value, bad, data.draw)

    with pytest.raises(InvalidArgumentError) as caught:
        encode_json(whole, field="payload")

    assert caught.value.field == f"payload{path}"
    assert caught.value.code == "argument.invalid"


@given(key=st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
@example(key=1e-07)
@example(key=123456789.125)
def test_no_key_that_json_would_turn_into_text_is_missed(key: Anything) -> None:
    with pytest.raises(InvalidArgumentError, match="use string keys"):
        encode_json({"outer": [{"text": 1, key: 2}]}, field="payload")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"items": [{"price": float("nan")}]},
            "payload.items[0].price: is NaN or infinite; pass None or text",
        ),
        (
            {"first": 1, "ada@secret.example": {"x": b""}},
            "payload[hidden key 2].x: is of type bytes, which JSON does not have",
        ),
        ({"a\nb": "\0"}, "payload[hidden key 1]: contains a NUL character"),
        ({"müller": "\0"}, "payload[hidden key 1]: contains a NUL character"),
        ({"k" * 30: "\0"}, f"payload.{'k' * 30}: contains a NUL character"),
        ({"k" * 31: "\0"}, "payload[hidden key 1]: contains a NUL character"),
        ({"a": {"b\0": 1}}, "payload.a: has a key that contains a NUL character"),
        ({"a": {7: 1}}, "payload.a: has a key of type int; use string keys"),
        ("\udfff", "payload: contains a lone surrogate"),
        (
            {"order": Model()},
            (
                "payload.order: is of type Model, which JSON does not have; "
                'pass what its `model_dump(mode="json")` returns'
            ),
        ),
        ((1, [object()]), "payload[1][0]: is of type object, which JSON does not have"),
    ],
)
def test_the_message_names_place_problem_and_remedy(value: Anything, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        encode_json(value, field="payload")

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "value",
    [
        {"card": "4111-secret\0"},
        {"card": "4111-secret\ud800"},
        {"card": {"4111-secret"}},
        {"card": ["4111-secret", float("nan")]},
        {"card": {"number": "4111-secret", 1: 2}},
    ],
)
def test_no_error_shows_a_value_not_even_its_traceback(value: Anything) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        encode_json(value, field="payload")

    error = caught.value
    assert error.__context__ is None
    assert "4111-secret" not in str(error) + repr(error)
    assert "4111-secret" not in "".join(traceback.format_exception(error))


def test_a_cycle_is_refused_where_it_closes() -> None:
    value: dict[str, Any] = {"a": {}}
    value["a"]["b"] = [value]

    with pytest.raises(InvalidArgumentError, match=r"^payload\.a\.b\[0\]: contains itself"):
        encode_json(value, field="payload")


def test_a_value_used_twice_is_no_cycle() -> None:
    shared = {"x": [1]}

    assert encode_json({"a": shared, "1": shared}, field="payload") == '{"a":{"x":[1]},"1":{"x":[1]}}'


def test_deep_nesting_is_refused_without_a_recursion_error() -> None:
    value: Any = "\0"
    for _ in range(100_000):
        value = [value]

    with pytest.raises(InvalidArgumentError, match=r"^checkpoint: is nested too deep"):
        encode_json(value, field="checkpoint")


def test_a_value_that_changed_while_it_was_encoded_is_refused_too() -> None:
    class ChangedByAnotherThread(dict[str, JsonValue]):
        changes = 1

        def items(self) -> ItemsView[str, JsonValue]:  # pyright: ignore[reportIncompatibleMethodOverride]
            if self.changes:
                self.changes -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().items()

    with pytest.raises(InvalidArgumentError, match=r"^payload: cannot be encoded as JSON"):
        encode_json(ChangedByAnotherThread(a=1), field="payload")


def test_tuples_and_members_of_string_and_integer_enumerations_are_their_values() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Level(IntEnum):
        LOW = 1

    assert encode_json((Colour.RED, Level.LOW), field="payload") == '["red",1]'


@dataclass
class Node:
    name: str
    children: list["Node"] = field(default_factory=list["Node"])
    length: int = field(init=False, default=0)


def test_what_json_does_not_have_is_written_as_what_stands_for_it() -> None:
    class Kind(Enum):
        WIDE = "w"

    instant = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=1)))

    value = {
        "node": Node("a", [Node("b")]),
        "rest": (Kind.WIDE, UUID(int=1), date(2026, 1, 2), instant, Decimal("1.50"), Decimal("1E+3")),
    }
    assert decode_json(encode_json(value, field="payload")) == {
        "node": {"name": "a", "children": [{"name": "b", "children": []}]},
        "rest": [
            "w",
            "00000000-0000-0000-0000-000000000001",
            "2026-01-02",
            "2026-01-02T03:04:05.000006+01:00",
            "1.50",
            "1E+3",
        ],
    }


def test_a_dataclass_is_refused_by_the_path_of_its_field() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^payload\.top\.children\[0\]\.name: contains a NUL character"):
        encode_json({"top": Node("a", [Node("\0")])}, field="payload")


def test_a_class_in_place_of_its_instance_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^payload: is of type type, which JSON does not have"):
        encode_json(Node, field="payload")  # pyright: ignore[reportArgumentType]


def test_a_dataclass_that_contains_itself_is_refused_where_the_cycle_closes() -> None:
    node = Node("a")
    node.children.append(node)

    with pytest.raises(InvalidArgumentError, match=r"^payload\.children\[0\]: contains itself"):
        encode_json(node, field="payload")


def test_precisely_typed_variables_are_json_values_for_a_type_checker() -> None:
    texts: dict[str, str] = {"a": "b"}
    numbers: list[int] = [1]

    assert encode_json(texts, field="payload") == '{"a":"b"}'
    assert encode_json(numbers, field="payload") == "[1]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ("1" * 10_000, "too many digits"),
        ('{"card": "4111-secret"', "not JSON"),
    ],
    ids=["deep", "digits", "broken"],
)
def test_stored_json_that_python_cannot_read_is_reported_without_the_document(text: str, problem: str) -> None:
    with pytest.raises(UndecodableJsonError, match=problem) as caught:
        decode_json(text)

    assert caught.value.__context__ is None
    assert "4111-secret" not in "".join(traceback.format_exception(caught.value))
