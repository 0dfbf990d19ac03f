"""JSON as commands print it: indented, from what is stored and what is made here."""

from __future__ import annotations

import json
from collections.abc import Callable

from runledger.cli.failures import CommandError
from runledger.core import JsonValue, UndecodableJsonError
from runledger.core.printable import printable_lines


class NestedTooDeepError(CommandError):
    """A value is nested deeper than Python writes. Some Pythons read deeper JSON than that."""


def json_text(
    value: object,
    *,
    indent: int | None = 2,
    ensure_ascii: bool = True,
    default: Callable[[object], object] | None = None,
) -> str:
    """Return the text of a value; the arguments are those of :func:`json.dumps`.

    Raises:
        NestedTooDeepError: There is none.
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii, default=default)
    except RecursionError:
        raise NestedTooDeepError("what is to be shown is nested too deep") from None


def print_json(document: object, *, default: Callable[[object], object] | None = None) -> None:
    """Print a document for a program.

    Args:
        document: What to print.
        default: Returns what stands for an object that JSON does not have.

    Raises:
        NestedTooDeepError: Nothing was printed.
    """
    print(json_text(document, default=default))


def json_lines(value: JsonValue) -> list[str]:
    """Return the lines of a value for a person: letters of every language as they are, what a terminal obeys escaped.

    Raises:
        NestedTooDeepError: There are none.
    """
    return printable_lines(json_text(value, ensure_ascii=False))


def decoded(read: Callable[[], JsonValue], *, what: str, remedy: str) -> JsonValue:
    """Return a stored value.

    Args:
        read: Decodes it.
        what: The name that the error gives to it.
        remedy: What to do where it cannot be decoded.

    Raises:
        CommandError: Python cannot read it.
    """
    try:
        return read()
    except UndecodableJsonError as error:
        raise CommandError(f"{what} cannot be shown as JSON: {error}; {remedy}") from None
