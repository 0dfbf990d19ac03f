"""Texts of failures, made fit for storage."""

from __future__ import annotations

import re

MAX_ERROR_TEXT_BYTES = 8 * 1024
"""Longest stored error text in UTF-8, the mark of a cut included."""

_CUT_MARK = "… [cut]"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean_error_text(text: str) -> str:
    """Return a text that PostgreSQL can store and that no handler can make too large.

    NUL characters are removed, lone surrogates replaced, and what is longer than 8 KiB of UTF-8 is cut at a
    character and ends in a mark. A clean text comes back as it is. Never fails: the text of an error must not
    become an error.
    """
    # No character takes less than a byte, so what lies further back cannot be kept; a message of a gigabyte
    # is not searched and encoded as a whole.
    kept = text.replace("\0", "")
    is_cut = len(kept) > MAX_ERROR_TEXT_BYTES
    kept = _LONE_SURROGATE.sub(_REPLACEMENT, kept[:MAX_ERROR_TEXT_BYTES])
    encoded = kept.encode()
    if not is_cut and len(encoded) <= MAX_ERROR_TEXT_BYTES:
        return kept
    room = MAX_ERROR_TEXT_BYTES - len(_CUT_MARK.encode())
    # Of a character that the cut goes through, errors="ignore" drops the remaining bytes.
    return encoded[:room].decode(errors="ignore") + _CUT_MARK
