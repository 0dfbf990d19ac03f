"""Stored JSON on its way into the JSON that a command prints."""

from __future__ import annotations

from collections.abc import Callable

from runledger.cli.failures import CommandError
from runledger.core import JsonValue, UndecodableJsonError


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
