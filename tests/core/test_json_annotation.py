"""Annotations: what they allow comes back equal, what they do not allow is refused with its place."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Self,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger import core
from runledger.core import InvalidArgumentError, JsonValue, PayloadMismatchError, decode_json, encode_json
from runledger.core.json_annotation import shape_of
from runledger.core.json_shape import decode_as

T = TypeVar("T")
CustomerId = NewType("CustomerId", int)


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Access(IntFlag):
    READ = 1


class Address(TypedDict):
    street: str
    number: NotRequired[int]


class PartialAddress(Address, total=False):
    city: str
    since: date


Spaced = TypedDict("Spaced", {"unit price": int})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    amount: int
    price: Decimal
    size: Size = Size.SMALL
    parts: list[Item] = field(default_factory=list["Item"])


@dataclass
class Order:
    id: UUID
    customer: CustomerId
    items: list[Item]
    ordered_at: datetime
    due: date | None
    weight: float
    is_gift: bool
    colour: Colour
    level: Level
    channel: Literal["web", "shop", 3, True] | None
    place: tuple[float, float]
    notes: tuple[str, ...]
    counts: Mapping[str, Annotated[int, "of something"]]
    address: PartialAddress
    extra: JsonValue
    other: core.JsonValue
    anything: Any
    code: int | str | list[int] | None
    previous: Optional[Order] = None  # noqa: UP045 (the old spelling is read as well)
    item_count: int = field(init=False)

    def __post_init__(self) -> None:
        self.item_count = len(self.items)


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
floats = st.floats(allow_nan=False, allow_infinity=False)
# Whole minutes: fromisoformat reads an offset of less than a second, which no clock has, as UTC.
zones = st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=4,
)
plain_items = st.builds(
    Item,
    amount=st.integers(),
    price=st.decimals(allow_nan=False, allow_infinity=False),
    size=st.sampled_from(Size),
)
items = plain_items | st.builds(
    Item, amount=st.integers(), price=st.just(Decimal(1)), parts=st.lists(plain_items, max_size=2)
)
addresses = st.fixed_dictionaries(
    {"street": texts}, optional={"number": st.integers(), "city": texts, "since": st.dates()}
)
plain_orders = st.builds(
    Order,
    id=st.uuids(),
    customer=st.integers(),
    items=st.lists(items, max_size=3),
    ordered_at=st.datetimes(timezones=zones),
    due=st.none() | st.dates(),
    weight=floats,
    is_gift=st.booleans(),
    colour=st.sampled_from(Colour),
    level=st.sampled_from(Level),
    channel=st.sampled_from(["web", "shop", 3, True, None]),
    place=st.tuples(floats, floats),
    notes=st.lists(texts, max_size=2).map(tuple),
    counts=st.dictionaries(texts, st.integers(), max_size=2),
    address=addresses,
    extra=values,
    other=values,
    anything=values,
    code=st.none() | st.integers() | texts | st.lists(st.integers(), max_size=2),
    previous=st.none(),
)


def decoder(annotation: object) -> Callable[[Any], Any]:
    shape = shape_of(annotation, name="payload", global_names=globals())
    return lambda value: decode_as(shape, value, field="payload")


decode_order = decoder(Order)


@given(order=plain_orders | st.builds(dataclasses.replace, plain_orders, previous=plain_orders))
def test_an_instance_comes_back_equal(order: Order) -> None:
    text = encode_json(order, field="payload")

    decoded = decode_order(decode_json(text))

    assert decoded == order
    assert decode_json(encode_json(decoded, field="payload")) == decode_json(text)


DECODED: list[tuple[object, Any, Any]] = [
    (float, 3, 3.0),
    (int | float, 3, 3),
    (float | int, 3, 3),
    (Decimal, "1e3", Decimal(1000)),
    (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (UUID, "0198C0DE-0000-7000-8000-000000000001", UUID("0198c0de-0000-7000-8000-000000000001")),
    (list[Size], ["S"], [Size.SMALL]),
    (Sequence[date], ["2026-01-02"], [date(2026, 1, 2)]),
    (tuple[()], [], ()),
    (tuple, [1, "a"], (1, "a")),
    (Literal[Colour.RED], "red", Colour.RED),
    (Address, {"street": "a", "zip": 1}, {"street": "a"}),
    ("list[Item]", [{"amount": 1, "price": "1", "_schedule": {}}], [Item(amount=1, price=Decimal(1))]),
]


@pytest.mark.parametrize(("annotation", "value", "decoded"), DECODED, ids=repr)
def test_a_value_becomes_what_the_annotation_says(annotation: object, value: Any, decoded: Any) -> None:
    """Members that a record does not have are ignored: they come from newer code, or from a schedule (SCH-003)."""
    found = decoder(annotation)(value)

    assert found == decoded
    assert type(found) is type(decoded)


ITEM = {"amount": 1, "price": "1.50"}


REFUSED: list[tuple[object, Any, str]] = [
    (Item, ITEM | {"amount": "4111"}, "payload.amount: expected integer, found text"),
    (Item, ITEM | {"amount": True}, "payload.amount: expected integer, found boolean"),
    (Item, ITEM | {"amount": 4111.0}, "payload.amount: expected integer, found number"),
    (Item, {"price": "4111"}, "payload.amount: is missing"),
    (Item, [4111], "payload: expected object, found list"),
    (
        Item,
        ITEM | {"parts": [ITEM, ITEM | {"amount": None}]},
        "payload.parts[1].amount: expected integer, found null",
    ),
    (Item, ITEM | {"size": "4111"}, 'payload.size: expected one of "S", "L", found other text'),
    (Item, ITEM | {"price": 4.111}, "payload.price: expected decimal number as text, found number"),
    (Item, ITEM | {"price": "4111 EUR"}, "payload.price: expected decimal number as text, found other text"),
    (Decimal, "1e99999999999999999999", "payload: expected decimal number as text, found other text"),
    (bool, 1, "payload: expected boolean, found integer"),
    (float, 10**400, "payload: expected number, found other integer"),
    (float, "4111", "payload: expected number, found text"),
    (Level, 4111, "payload: expected one of 1, 2, found other integer"),
    (Level, True, "payload: expected one of 1, 2, found boolean"),
    (Literal[True], 1, "payload: expected one of true, found integer"),
    (UUID, "4111", "payload: expected UUID as text, found other text"),
    (datetime, "2026-01-02", "payload: expected date and time as ISO 8601 text, found other text"),
    (datetime, "2026-13-02T00:00:00", "payload: expected date and time as ISO 8601 text, found other text"),
    (date, "2026-01-02T00:00:00", "payload: expected date as ISO 8601 text, found other text"),
    (Item | None, 4111, "payload: expected object or null, found integer"),
    (tuple[str, int], ["a", "4111"], "payload[1]: expected integer, found text"),
    (tuple[str, int], ["4111"], "payload: expected list of 2, found list of 1"),
    (tuple[Size, ...], {}, "payload: expected list, found object"),
    (
        dict[str, Size],
        {"first": "S", "not a name": 4111},
        'payload[hidden key 2]: expected one of "S", "L", found integer',
    ),
    (Spaced, {"unit price": "4111"}, 'payload["unit price"]: expected integer, found text'),
    (dict[str, Size], "4111", "payload: expected object, found text"),
    (PartialAddress, {"city": "4111"}, "payload.street: is missing"),
    (Address, {"street": "a", "number": "4111"}, "payload.number: expected integer, found text"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), REFUSED, ids=repr)
def test_what_does_not_fit_is_refused_with_its_place_and_without_its_value(
    annotation: object, value: Any, message: str
) -> None:
    with pytest.raises(PayloadMismatchError) as caught:
        decoder(annotation)(value)

    assert str(caught.value) == message
    assert caught.value.code == "job.payload_invalid"
    assert "4111" not in "".join(traceback.format_exception(caught.value))


@dataclass
class Percentage:
    value: int

    def __post_init__(self) -> None:
        if self.value > 100:
            raise ValueError(f"{self.value} is too much")


def test_a_check_of_the_class_itself_refuses_without_showing_the_value() -> None:
    value = [{"value": 1}, {"value": 4111}]

    with pytest.raises(PayloadMismatchError) as caught:
        decoder(list[Percentage])(value)

    assert str(caught.value) == "payload[1]: Percentage refused it with ValueError"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_payload_that_is_nested_too_deep_is_refused() -> None:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = ITEM | {"parts": [value]}

    with pytest.raises(PayloadMismatchError, match=r"^payload: is nested too deep$"):
        decoder(Item)(value)


PLAIN: list[tuple[object, bool]] = [
    (Any, True),
    (object, True),
    (JsonValue, True),
    ("JsonValue", True),
    ("core.JsonValue", True),
    (None, True),
    (dict[str, int], True),
    (list[dict[str, str | None]] | float, True),
    (dict, True),
    (tuple[int, ...], False),
    (dict[str, list[UUID]], False),
    (Literal["a"], False),
    (Item | None, False),
]


@pytest.mark.parametrize(("annotation", "is_plain"), PLAIN, ids=repr)
def test_annotations_of_nothing_but_json_types_are_plain(annotation: object, is_plain: bool) -> None:  # noqa: FBT001 - parametrized
    assert shape_of(annotation, name="payload", global_names=globals()).is_plain is is_plain


class Point(NamedTuple):
    x: int


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Opened:
    key: InitVar[str]


@dataclass
class Reordered:
    amount: int

    def __init__(self, *, total: int) -> None:
        self.amount = total


@dataclass
class Tagged:
    tags: list[set[str]]


@dataclass
class Vague:
    value: Unknown  # pyright: ignore[reportUndefinedVariable]  # noqa: F821


class Model:
    """As one of pydantic."""

    @classmethod
    def model_validate(cls, value: object) -> Self:
        assert value
        return cls()


@dataclass
class Holder:
    model: Model


UNSUPPORTED: list[tuple[object, str]] = [
    (set[int], "payload: names set[int], to which JSON cannot be decoded"),
    (bytes, "payload: names bytes, to which JSON cannot be decoded"),
    (
        Model,
        (
            "payload: names Model, to which JSON cannot be decoded; "
            "annotate with `Any`, and call `Model.model_validate(payload)` in the handler"
        ),
    ),
    (
        Holder,
        (
            "Holder.model: names Model, to which JSON cannot be decoded; "
            "annotate with `Any`, and call `Model.model_validate(...)` in the handler"
        ),
    ),
    (time, "payload: names time, to which JSON cannot be decoded"),
    (Access, "payload: names Access, to which"),
    (Point, "payload: names Point, to which"),
    (Literal[b"a"], "payload: names typing.Literal[b'a'], to which"),
    (dict[int, str], "payload: names dict[int, str], to which"),
    (Box[int], "payload: names tests.core.test_json_annotation.Box[int], to which"),
    (Box, "Box.content: names ~T, to which"),
    (Tagged, "Tagged.tags: names set[str], to which"),
    (Item | Address, "payload: is a union of object and object, which look alike in JSON"),
    (str | UUID, "payload: is a union of text and UUID as text, which look alike in JSON"),
    (float | Level, "payload: is a union of number and one of 1, 2, which look alike in JSON"),
    (Opened, "Opened: has an __init__ that does not take its fields by name"),
    (Reordered, "Reordered: has an __init__ that does not take its fields by name"),
    ("Unknown", "payload: names 'Unknown', which its module does not have"),
    (Vague, "Vague: names 'Unknown', which its module does not have"),
    ("1 +", "payload: cannot be resolved (SyntaxError)"),
]


@pytest.mark.parametrize(("annotation", "message"), UNSUPPORTED, ids=repr)
def test_an_annotation_to_which_json_cannot_be_decoded_is_refused(annotation: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decoder(annotation)

    assert str(caught.value).startswith(message)
    assert caught.value.remedy
