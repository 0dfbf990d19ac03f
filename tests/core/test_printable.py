from __future__ import annotations

import pytest

from runledger.core.printable import printable, printable_lines, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\nb", "a\\nb"),
        ("\u202eevil", "\\u202eevil"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_shortened_text_says_that_there_is_more() -> None:
    assert shortened(" one line ") == "one line"
    assert shortened("first\nsecond") == "first ..."
    assert shortened("x" * 200) == "x" * 97 + "..."
    assert shortened("") == ""


def test_lines_stay_lines() -> None:
    assert printable_lines("a\n\tb\x1b\r\nc") == ["a", "        b\\x1b", "c"]
