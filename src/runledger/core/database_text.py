"""What a PostgreSQL ``text`` or ``jsonb`` string cannot hold although a Python string can."""

from __future__ import annotations

from runledger.core.errors import InvalidArgumentError


def unstorable_text_problem(text: str) -> str | None:
    r"""Say why PostgreSQL could not store a text, or return ``None`` when it can.

    Two things are refused: the NUL character, and surrogate code points, which have no UTF-8 form (they come
    from undecodable file names and from broken escapes such as ``"\ud800"`` in JSON).
    """
    if "\0" in text:
        return "contains a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "contains a lone surrogate"
    return None


def check_text(field: str, value: object) -> str:
    """Return what is a text that PostgreSQL can hold.

    Args:
        field: The name that errors give to it.
        value: The argument that was given.

    Raises:
        InvalidArgumentError: It is something else, or holds a NUL character or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass a str")
    problem = unstorable_text_problem(value)
    if problem is not None:
        raise InvalidArgumentError(field, problem, "PostgreSQL cannot store it, remove it")
    return value
