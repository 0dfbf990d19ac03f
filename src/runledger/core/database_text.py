"""What a PostgreSQL ``text`` or ``jsonb`` string cannot hold although a Python string can."""

from __future__ import annotations


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
