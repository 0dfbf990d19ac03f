"""What applications log, as JSON has it. Whatever it is and whatever its code does, nothing here fails over it."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import cast

from runledger.core.json_value import JsonValue

# Python's decoder, and encoders of other tools, give up at some depth; what people read ends long before.
_MAX_DEPTH = 50
_WORD_CHARACTERS = 5


class NoRoomError(Exception):
    """A value takes more characters than there are for it."""


def logged_text(value: object) -> str:
    """Return the text of a value; where it has none, its type and that of the exception."""
    try:
        # A text of a class of its own becomes a plain one, whose methods are Python's.
        return str.__str__(str(value))
    except Exception as error:  # noqa: BLE001 (__str__ is the application's code)
        return f"<{type(value).__name__}: {type(error).__name__}>"


def logged_value(
    value: object,
    *,
    room: int,
    form: Callable[[object], object],
    clean: Callable[[str], str] = str,
) -> tuple[JsonValue, int]:
    """Return a copy of a value in which a text stands for whatever JSON cannot hold, and the room that is left.

    The value is read once. Texts stand for keys that are none, numbers that are not finite, what contains itself, what
    is nested deeper than 50 levels, and what raises when it is read.

    Args:
        value: The value.
        room: About how many characters it may take.
        form: Returns what stands for an object that JSON does not have. Its text does, where this raises.
        clean: Is applied to each text.

    Raises:
        NoRoomError: The text takes more characters.
    """
    copier = _Copier(room, form, clean)
    copy = copier.copy(value, depth=0)
    return copy, copier.room


class _Copier:
    def __init__(self, room: int, form: Callable[[object], object], clean: Callable[[str], str]) -> None:
        self.room = room
        self._form = form
        self._clean = clean
        self._ancestors: set[int] = set()

    def copy(self, value: object, *, depth: int) -> JsonValue:
        try:
            return self._copy(value, depth)
        except NoRoomError:
            raise
        except Exception:  # noqa: BLE001 (properties, iterators and even __class__ may be the application's code)
            return self._text(logged_text(value))

    def _copy(self, value: object, depth: int) -> JsonValue:
        if value is None or isinstance(value, bool):
            self._take(_WORD_CHARACTERS)
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            self._take(len(int.__repr__(value)))  # which fails when there are too many digits to be read again
            return value
        if isinstance(value, float):
            text = float.__repr__(value)
            if not isfinite(value):
                return self._text(text)
            self._take(len(text))
            return value
        if id(value) in self._ancestors:
            return self._text(f"<{type(value).__name__}, contains itself>")
        if depth == _MAX_DEPTH:
            return self._text(f"<{type(value).__name__}, nested too deep>")
        self._ancestors.add(id(value))
        try:
            return self._copy_parts(value, depth + 1)
        finally:
            self._ancestors.discard(id(value))

    def _copy_parts(self, value: object, depth: int) -> JsonValue:
        self._take(2)
        if isinstance(value, dict):
            members = cast("dict[object, object]", value).items()
            return {self._text(logged_text(name)): self.copy(member, depth=depth) for name, member in members}
        if isinstance(value, (list, tuple)):
            return [self.copy(item, depth=depth) for item in cast("list[object]", value)]
        return self.copy(self._form(value), depth=depth)

    def _text(self, text: str) -> str:
        cleaned = self._clean(text)
        self._take(len(cleaned) + 2)
        return cleaned

    def _take(self, characters: int) -> None:
        self.room -= characters
        if self.room < 0:
            raise NoRoomError
