"""Refuse what is not several objects of one class, each with a name of its own, where a caller passes them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from typing import TypeVar

from runledger.core.errors import InvalidArgumentError

T = TypeVar("T")


def check_items(field: str, given: Iterable[T], kind: type[T], *, remedy: str) -> Iterator[T]:
    """Yield what an iterable gives, as it gives it; the iterable itself is checked at once.

    Args:
        field: The argument.
        given: What was passed for it.
        kind: The class of each item.
        remedy: What to pass.

    Raises:
        InvalidArgumentError: It is a single object of the class, or no iterable; or, when it is its turn, an item is
            of another class, by its place.
    """
    if isinstance(given, kind):
        raise InvalidArgumentError(field, f"is a single {kind.__name__}", "put it into a list")
    # The letters of a text are never meant.
    if isinstance(given, str) or not isinstance(given, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        if isinstance(given, AsyncIterable):
            remedy += "; async generators are not read, collect what they give into a list"
        raise InvalidArgumentError(field, f"is of type {type(given).__name__}", remedy)
    return _items(field, given, kind, remedy)


def check_distinct_names(field: str, names: Sequence[str], remedy: str) -> None:
    """Refuse a name that comes twice, and tell which.

    Raises:
        InvalidArgumentError: There is one.
    """
    if len(set(names)) < len(names):
        repeated = next(name for name, count in Counter(names).items() if count > 1)
        raise InvalidArgumentError(field, f"contains {repeated!r} twice", remedy)


def _items(field: str, given: Iterable[T], kind: type[T], remedy: str) -> Iterator[T]:
    for index, item in enumerate(given):
        if not isinstance(item, kind):
            raise InvalidArgumentError(f"{field}[{index}]", f"is of type {type(item).__name__}", remedy)
        yield item
