"""Shapes: what a decoded JSON value must look like, and the Python value it becomes then.

Strict where a lenient reading would hide a mistake (text is never taken for a number, a boolean never for an integer),
open where code and payloads of different age meet (members that a record does not have are ignored). The reasons are
in docs/decisions/0035.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NoReturn, cast
from uuid import UUID

from runledger.core.errors import PayloadMismatchError
from runledger.core.json_value import JsonValue, member_path

NoneType = type(None)

_KINDS: Mapping[type, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "list",
    dict: "object",
    NoneType: "null",
}
ALL_TYPES = frozenset(_KINDS)

_MAX_SHOWN_CHOICES = 10


class MismatchError(Exception):
    """A value does not have its shape; collects the way to its place while it rises. Never leaves this package."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []  # innermost first


class Shape(ABC):
    """What a value must look like.

    Attributes:
        types: The types of decoded JSON values that it may accept.
        expected: The words for it in "expected …, found …".
        is_plain: Whether it leaves values as JSON has them.
    """

    types: frozenset[type]
    expected: str
    is_plain: bool = False

    @abstractmethod
    def decode(self, value: object) -> Any:  # noqa: ANN401 (an application's value)
        """Return what the value stands for.

        Raises:
            MismatchError: It does not have the shape.
        """

    def refuse(self, value: object) -> NoReturn:
        """Raise the mismatch of a value, of which only the kind is shown."""
        kind = _KINDS.get(type(value), "no JSON")
        raise MismatchError(f"expected {self.expected}, found {'other ' if type(value) in self.types else ''}{kind}")


def decode_as(shape: Shape, value: JsonValue, *, field: str) -> Any:  # noqa: ANN401 (an application's value)
    """Return what a decoded JSON value stands for.

    Raises:
        PayloadMismatchError: It does not have the shape; the text names the place and never shows the value.
    """
    try:
        return shape.decode(value)
    except MismatchError as mismatch:
        path, problem = field + "".join(reversed(mismatch.path)), mismatch.problem
    except RecursionError:
        path, problem = field, "is nested too deep"
    # Raised outside the except blocks: what an application's class raised may quote the value.
    raise PayloadMismatchError(path, problem)


class Anything(Shape):
    """Any JSON value, as it is."""

    types = ALL_TYPES
    expected = "any value"
    is_plain = True

    def decode(self, value: object) -> object:
        """Return the value."""
        return value


class Scalar(Shape):
    """A value of exactly one type: a boolean is no integer."""

    is_plain = True

    def __init__(self, accepted: type) -> None:
        self._accepted = accepted
        self.types = frozenset({accepted})
        self.expected = _KINDS[accepted]

    def decode(self, value: object) -> object:
        """Return the value."""
        return value if type(value) is self._accepted else self.refuse(value)


class Number(Shape):
    """A float. An integer is one too: JSON has one kind of number, and ``jsonb`` gives 1e16 back without a point."""

    types = frozenset({int, float})
    expected = "number"
    is_plain = True

    def decode(self, value: object) -> float:
        """Return it as a float."""
        if type(value) not in self.types:
            self.refuse(value)
        try:
            number = float(cast("float", value))
        except OverflowError:
            number = math.inf
        return number if math.isfinite(number) else self.refuse(value)


class ParsedText(Shape):
    """Text that stands for a value of a class that JSON does not have."""

    types = frozenset({str})

    def __init__(self, pattern: str, parse: Callable[[str], object], expected: str) -> None:
        self._pattern = re.compile(pattern, re.ASCII)
        self._parse = parse
        self.expected = expected

    def decode(self, value: object) -> object:
        """Return what the text stands for."""
        if isinstance(value, str) and self._pattern.fullmatch(value):
            try:
                return self._parse(value)
            except (ValueError, ArithmeticError):
                pass  # the form is right, the month is 13
        return self.refuse(value)


TEXT_SHAPES: Mapping[type, ParsedText] = {
    UUID: ParsedText(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", UUID, "UUID as text"),
    datetime: ParsedText(
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d){0,2}(\.\d+)?)?",
        datetime.fromisoformat,
        "date and time as ISO 8601 text",
    ),
    date: ParsedText(r"\d{4}-\d\d-\d\d", date.fromisoformat, "date as ISO 8601 text"),
    Decimal: ParsedText(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", Decimal, "decimal number as text"),
}


class Choice(Shape):
    """One of a few values: the members of an enumeration, or a ``Literal``.

    Args:
        members: Each member with the JSON value that stands for it.
    """

    def __init__(self, members: Iterable[tuple[object, JsonValue]]) -> None:
        pairs = list(members)
        self._members = {_choice_key(value): member for member, value in pairs}
        types = {type(value) for _, value in pairs}
        self.types = frozenset(types | {int} if float in types else types)
        shown = [json.dumps(value, ensure_ascii=False) for _, value in pairs[:_MAX_SHOWN_CHOICES]]
        self.expected = "one of " + ", ".join(shown + ["…"] * (len(pairs) > _MAX_SHOWN_CHOICES))

    def decode(self, value: object) -> object:
        """Return the member that the value stands for."""
        if type(value) in self.types:
            try:
                return self._members[_choice_key(value)]
            except KeyError:
                pass
        return self.refuse(value)


def _choice_key(value: object) -> tuple[bool, object]:
    return isinstance(value, bool), value  # True equals 1


class ListOf(Shape):
    """A list whose items all have one shape.

    Args:
        item: The shape of an item.
        make: The type of the result: ``list`` or ``tuple``.
    """

    types = frozenset({list})
    expected = "list"

    def __init__(self, item: Shape, make: type[list[Any] | tuple[Any, ...]]) -> None:
        self._item = item
        self._make = make
        self.is_plain = item.is_plain and make is list

    def decode(self, value: object) -> object:
        """Return the decoded items."""
        if not isinstance(value, list):
            self.refuse(value)
        items: list[Any] = []
        try:
            for item in cast("list[object]", value):
                items.append(self._item.decode(item))  # noqa: PERF401 (the error needs to know how far it came)
        except MismatchError as mismatch:
            mismatch.path.append(f"[{len(items)}]")
            raise
        return self._make(items)


class TupleOf(Shape):
    """A list of a fixed length, each item with a shape of its own."""

    types = frozenset({list})

    def __init__(self, items: Sequence[Shape]) -> None:
        self._items = items
        self.expected = f"list of {len(items)}"

    def decode(self, value: object) -> tuple[object, ...]:
        """Return the decoded items."""
        if not isinstance(value, list):
            self.refuse(value)
        found = cast("list[object]", value)
        if len(found) != len(self._items):
            raise MismatchError(f"expected {self.expected}, found list of {len(found)}")
        items: list[object] = []
        try:
            for shape, item in zip(self._items, found, strict=True):
                items.append(shape.decode(item))
        except MismatchError as mismatch:
            mismatch.path.append(f"[{len(items)}]")
            raise
        return tuple(items)


class MappingOf(Shape):
    """An object with any keys whose values all have one shape."""

    types = frozenset({dict})
    expected = "object"

    def __init__(self, item: Shape) -> None:
        self._item = item
        self.is_plain = item.is_plain

    def decode(self, value: object) -> dict[str, object]:
        """Return the decoded values by their keys."""
        if not isinstance(value, dict):
            self.refuse(value)
        items: dict[str, object] = {}
        for key, item in cast("dict[str, object]", value).items():
            try:
                items[key] = self._item.decode(item)
            except MismatchError as mismatch:
                mismatch.path.append(member_path(key, len(items) + 1))
                raise
        return items


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a record.

    Attributes:
        name: The key of the member.
        shape: The shape of its value.
        is_required: Whether it must be there.
    """

    name: str
    shape: Shape
    is_required: bool


class Record(Shape):
    """An object with named members. Members that it does not have are ignored.

    Attributes:
        members: Its members; set after it is made, since a record may contain itself.
    """

    types = frozenset({dict})
    expected = "object"
    members: Sequence[Member] = ()

    def __init__(self, make: Callable[..., object], name: str) -> None:
        self._make = make
        self._name = name

    def decode(self, value: object) -> object:
        """Return an instance made of the decoded members."""
        if not isinstance(value, dict):
            self.refuse(value)
        found = cast("dict[str, object]", value)
        arguments: dict[str, object] = {}
        for member in self.members:
            try:
                if member.name in found:
                    arguments[member.name] = member.shape.decode(found[member.name])
                elif member.is_required:
                    _refuse_absence()
            except MismatchError as mismatch:
                mismatch.path.append(_declared_path(member.name))
                raise
        try:
            return self._make(**arguments)
        except Exception as error:  # noqa: BLE001 (a check of the application's own)
            problem = f"{self._name} refused it with {type(error).__name__}"
        raise MismatchError(problem)


def _declared_path(name: str) -> str:
    # The code gave this name, not the payload: it is shown whatever it looks like.
    return f".{name}" if name.isidentifier() else f"[{json.dumps(name, ensure_ascii=False)}]"


def _refuse_absence() -> NoReturn:
    raise MismatchError("is missing")


class OneOf(Shape):
    """A value of one of several shapes, told apart by the kind of the value."""

    def __init__(self, alternatives: Sequence[Shape]) -> None:
        self._by_type = {accepted: shape for shape in alternatives for accepted in shape.types}
        self.types = frozenset(self._by_type)
        self.expected = " or ".join(shape.expected for shape in alternatives)
        self.is_plain = all(shape.is_plain for shape in alternatives)

    def decode(self, value: object) -> object:
        """Return what the value is in the shape for its kind."""
        shape = self._by_type.get(type(value))
        return self.refuse(value) if shape is None else shape.decode(value)
