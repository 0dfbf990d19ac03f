"""Objects of applications that raise when they are looked at."""

from __future__ import annotations

import dataclasses
from typing import Any

SECRET = "hunter2"


class NoText:
    """As a lazy translation without an active language."""

    def __str__(self) -> str:
        raise LookupError(SECRET)


@dataclasses.dataclass
class Detached:
    """As an object of an ORM whose session is closed."""

    id: int
    lines: list[int] = dataclasses.field(default_factory=list[int])

    def __getattribute__(self, name: str) -> Any:
        if name == "lines":
            raise LookupError(SECRET)
        return super().__getattribute__(name)


@dataclasses.dataclass(slots=True)
class Part:
    """An attribute of it may be missing."""

    a: int = 1


def unset() -> Part:
    part = Part()
    del part.a
    return part


class BrokenDict(dict[str, int]):
    def items(self) -> Any:
        raise KeyError(SECRET)


class BrokenList(list[int]):
    def __iter__(self) -> Any:
        raise KeyError(SECRET)


class Lazy:
    """As a lazy object that finds out its class first."""

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise LookupError(SECRET)

    def __str__(self) -> str:
        return "lazy"


class Once(dict[str, float]):
    """Reads differently the second time."""

    def __init__(self) -> None:
        super().__init__(a=1.0)
        self._reads = 0

    def items(self) -> Any:
        self._reads += 1
        return {"a": 1.0 if self._reads == 1 else float("nan")}.items()


class Name(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise KeyError(SECRET)


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise LookupError(SECRET)


class Hidden(metaclass=_Nameless):
    """Neither it nor its class has a text."""

    def __str__(self) -> str:
        raise LookupError(SECRET)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value
