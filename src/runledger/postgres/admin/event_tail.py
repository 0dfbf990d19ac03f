"""The events of all jobs in order, without passing one whose transaction commits late."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass, replace

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.event_tail import EventPage
from runledger.postgres.admin.pagination import INVALID_PAGINATION, check_page_limit
from runledger.postgres.document import encode_document
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.row_decoding import decode_tailed_event
from runledger.postgres.sql_errors import QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_READ = SqlFile("admin", "read_events_after")
_FIND_NEWEST = SqlFile("admin", "find_newest_event_cursor")

# Three event ids and a transaction id, none of which is negative; 0 is no transaction.
_FORM = struct.Struct(">qqqQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """How far a reader is.

    Attributes:
        after_id: The last event that it has.
        final_id: Up to here every id is decided: read, or never to be.
        mark_id: Up to here it will be,
        mark_xid: once the transactions before this one are over; ``None``: there is no mark.
    """

    after_id: int = 0
    final_id: int = 0
    mark_id: int = 0
    mark_xid: int | None = None

    @property
    def farthest_id(self) -> int:
        """The last event that is known to have been there."""
        return max(self.after_id, self.final_id, self.mark_id)

    def encode(self) -> str:
        raw = _FORM.pack(self.after_id, self.final_id, self.mark_id, self.mark_xid or 0)
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@operation("admin.read_events_after")
def read_events_after(cursor: str | None = None, *, limit: int = 1_000) -> Steps[EventPage]:
    """Return the events of all jobs behind a cursor, in the order of their ids, none of them skipped.

    Ids are not committed in their order. An event is returned when no transaction is left that might still commit one
    before it. So a transaction that writes, in any database of the server, holds back what comes after it for as long
    as it runs. A new event is seen by the second read after its commit.

    Needs a primary server, and a transaction of its own that has written nothing.

    Args:
        cursor: ``next_cursor`` of the read before, or ``cursor`` of an event; ``None`` begins with the oldest event.
        limit: Events at most, 1 to 1000.

    Raises:
        InvalidArgumentError: ``job.invalid_pagination``: the limit or the cursor is none.
        QueryError: ``job.event_tail_after_write``: the transaction has written before. ``job.event_tail_set_back``: the
            database has not come as far as the cursor: it was set back in time, or is another one.
    """
    check_page_limit(limit)
    place = _Place() if cursor is None else _decode(cursor)
    document = encode_document(
        after_id=place.after_id,
        final_id=place.final_id,
        mark_id=place.mark_id,
        mark_xid=None if place.mark_xid is None else str(place.mark_xid),
        limit=limit,
    )
    rows = yield Statement(sql=_READ, document=document, is_only=True)
    if rows[0]["was_written"]:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job.event_tail_after_write",
            "the transaction has written before; call it before anything that writes, or in a transaction of its own",
            internal="admin.read_events_after: the transaction has an id",
        )
    given_id: int | None = rows[0]["given_id"]
    if given_id is not None and given_id < place.farthest_id:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "job.event_tail_set_back",
            "the database has not come as far as the cursor: it was set back in time, or is another one; begin again"
            " behind find_newest_event_cursor(), or without a cursor",
            internal=f"admin.read_events_after: cursor of event {place.farthest_id}, the last one is {given_id}",
        )
    decided = _decided(rows[0])
    events = [decode_tailed_event(row, cursor=_behind(decided, row["id"])) for row in rows if row["id"] is not None]
    is_full = len(events) == limit
    # Up to the decided id there is nothing else, unless the page is full.
    behind = replace(decided, after_id=events[-1].event.id if is_full else decided.final_id)
    return EventPage(events=events, next_cursor=behind.encode(), is_caught_up=not is_full and decided.mark_xid is None)


@operation("admin.find_newest_event_cursor")
def find_newest_event_cursor() -> Steps[str]:
    """Return the cursor behind the newest event, for those who follow from now on.

    Events of transactions that are open at this moment may be missed.
    """
    rows = yield Statement(sql=_FIND_NEWEST, document=encode_document(), is_only=True)
    newest_id: int = rows[0]["newest_id"]
    return _Place(after_id=newest_id, final_id=newest_id).encode()


def _decided(row: Row) -> _Place:
    mark_id: int | None = row["next_mark_id"]
    mark_xid: str | None = row["next_mark_xid"]
    return _Place(
        final_id=row["decided_id"], mark_id=mark_id or 0, mark_xid=None if mark_xid is None else int(mark_xid)
    )


def _behind(decided: _Place, event_id: int) -> str:
    return replace(decided, after_id=event_id).encode()


def _decode(cursor: str) -> _Place:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        after_id, final_id, mark_id, mark_xid = _FORM.unpack(raw)
    except (binascii.Error, ValueError, TypeError, struct.error):
        raise _no_cursor() from None
    if min(after_id, final_id, mark_id) < 0:
        raise _no_cursor()
    return _Place(after_id=after_id, final_id=final_id, mark_id=mark_id, mark_xid=mark_xid or None)


def _no_cursor() -> InvalidArgumentError:
    return InvalidArgumentError(
        "cursor", "is not from this list", "pass next_cursor or the cursor of an event", code=INVALID_PAGINATION
    )
