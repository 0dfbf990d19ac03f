"""Text of others on a terminal."""

from __future__ import annotations

_SHORT_LENGTH = 100


def printable(text: str) -> str:
    """Return the text with everything but printable characters escaped, so that it stays on its line.

    A message in the ledger may hold what a terminal would obey: colours, a new title, letters that run backwards.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shortened(text: str) -> str:
    """Return the first line of a text, printable and cut to a length that fits into a table."""
    first_line, *others = text.strip().splitlines() or [""]
    shown = printable(first_line)
    if len(shown) > _SHORT_LENGTH:
        return shown[: _SHORT_LENGTH - 3] + "..."
    return f"{shown} ..." if others else shown


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, each printable."""
    return [printable(line.expandtabs()) for line in text.splitlines()]
