"""Pages: how many rows, and where they begin. Refused before the database is asked."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError

INVALID_PAGINATION = "job.invalid_pagination"
MAX_LIMIT = 1_000

SCAN_LIMIT = 20_000
"""How many rows are read for one page or count at most: some ten milliseconds."""

LATEST_ID = UUID(int=2**128 - 1)
"""Behind every id."""

LATEST_INSTANT = datetime(9999, 1, 1, tzinfo=UTC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ID_BYTES = 16
_INSTANT_BYTES = 8


def check_page_limit(limit: int) -> None:
    """Refuse a number of rows outside 1…1000.

    Raises:
        InvalidArgumentError: ``job.invalid_pagination``.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refused("limit", f"is of type {type(limit).__name__}", "pass an int")
    if not 1 <= limit <= MAX_LIMIT:
        remedy = "ask for at least one row" if limit < 1 else "ask for less, and turn the page"
        raise _refused("limit", f"is not between 1 and {MAX_LIMIT}", remedy)


def encode_cursor(row_id: UUID, instant: datetime | None = None) -> str:
    """Return the cursor of a page that begins behind a row. It names a place and not the row, which may go."""
    head = b"" if instant is None else ((instant - _EPOCH) // _MICROSECOND).to_bytes(_INSTANT_BYTES, signed=True)
    return base64.urlsafe_b64encode(head + row_id.bytes).rstrip(b"=").decode()


def decode_id_cursor(cursor: str | None) -> UUID:
    """Return the id behind which a page begins; without a cursor it is the first page.

    Raises:
        InvalidArgumentError: ``job.invalid_pagination``: the text is no cursor of such a list.
    """
    return LATEST_ID if cursor is None else UUID(bytes=_bytes(cursor, _ID_BYTES))


def decode_instant_cursor(cursor: str | None) -> tuple[datetime, UUID]:
    """Return the instant and the id behind which a page begins; without a cursor it is the first page.

    Raises:
        InvalidArgumentError: ``job.invalid_pagination``: the text is no cursor of such a list.
    """
    if cursor is None:
        return LATEST_INSTANT, LATEST_ID
    raw = _bytes(cursor, _INSTANT_BYTES + _ID_BYTES)
    try:
        instant = _EPOCH + int.from_bytes(raw[:_INSTANT_BYTES], signed=True) * _MICROSECOND
    except OverflowError:
        raise _no_cursor() from None
    return instant, UUID(bytes=raw[_INSTANT_BYTES:])


def _bytes(cursor: str, length: int) -> bytes:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _no_cursor() from None
    if len(raw) != length:
        raise _no_cursor()
    return raw


def _no_cursor() -> InvalidArgumentError:
    return _refused("cursor", "is not from this list", "pass next_cursor of the page before, or leave it out")


def _refused(field: str, problem: str, remedy: str) -> InvalidArgumentError:
    return InvalidArgumentError(field, problem, remedy, code=INVALID_PAGINATION)
