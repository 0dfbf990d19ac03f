"""Notices: what workers are told by NOTIFY, so that they need not wait for their next poll.

A notice is a hint and never the truth. It may be lost, late, doubled, forged or malformed: whoever hears it looks into
the tables, and finds there what holds. It names job types or job ids and nothing of their contents, because every
session of the database may listen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast
from uuid import UUID

from runledger.postgres.document import MAX_BATCH_ROWS, encode_document, milliseconds
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.sql_files import SqlFile

_SEND = SqlFile("connection", "send_notices")

HORIZON = timedelta(minutes=1)
"""A job that is due later than this is not announced: until then every worker has polled. As in the SQL files."""

_MAX_TYPES_BYTES = 7_000
_MAX_PAYLOAD_BYTES = 8_000
# So many ids are well below the 8,000 bytes that PostgreSQL passes on.
_MAX_IDS = 150
_FIRST_YEAR = 1900


class InvalidNoticeError(ValueError):
    """What came by the channel is no notice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp:
    """Jobs were made due.

    Attributes:
        job_types: Their types; ``None``: any.
        due_at: When the earliest is due, by the database's clock; ``None``: not known.
        delay: How long after the notice that is, so that nobody compares clocks. Zero: they are due.
    """

    job_types: frozenset[str] | None = None
    due_at: datetime | None = None
    delay: timedelta = timedelta()

    def joined(self, other: WakeUp) -> WakeUp:
        """Return one wake-up that does for both."""
        return WakeUp(
            job_types=None if self.job_types is None or other.job_types is None else self.job_types | other.job_types,
            due_at=None if self.due_at is None or other.due_at is None else min(self.due_at, other.due_at),
            delay=min(self.delay, other.delay),
        )

    def encode(self) -> str:
        """Return the payload. Too many types for one become any."""
        job_types = None if self.job_types is None else sorted(self.job_types)
        if len(encode_document(job_types=job_types).encode()) > _MAX_TYPES_BYTES:
            job_types = None
        return encode_document(job_types=job_types, due_at=self.due_at, delay_ms=milliseconds(self.delay))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """Jobs were canceled while workers held them.

    Attributes:
        job_ids: The jobs that were canceled.
    """

    job_ids: frozenset[UUID]


Notice: TypeAlias = WakeUp | Cancellation


@dataclass(slots=True)
class Notices:
    """What an operation has to tell workers, and clients that wait for a run.

    Attributes:
        is_sent_inside: The statements of the operation send it themselves, so that it is heard if and when their
            transaction commits. Otherwise it is collected for whoever commits.
        payloads: The notices that were collected for workers.
        ended_run_ids: The runs that have ended.
    """

    is_sent_inside: bool
    payloads: list[str] = field(default_factory=list[str])
    ended_run_ids: list[UUID] = field(default_factory=list[UUID])

    def __bool__(self) -> bool:
        """Whether anything was collected."""
        return bool(self.payloads or self.ended_run_ids)

    def take(self, row: Row) -> None:
        """Take what a statement has to tell."""
        payload: str | None = row["notice"]
        if payload is not None and not self.is_sent_inside:
            self.payloads.append(payload)

    def take_ended(self, run_ids: Iterable[UUID]) -> None:
        """Take the runs that have ended."""
        if not self.is_sent_inside:
            self.ended_run_ids += run_ids


def sends_inside(notices: Notices | None) -> bool | None:
    """Return the field of a document that asks a statement to send its notice; absent unless it should."""
    return True if notices is not None and notices.is_sent_inside else None


def decode_notice(payload: str) -> Notice:
    """Read a payload.

    Raises:
        InvalidNoticeError: The payload is no notice.
    """
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidNoticeError("no JSON object")
    members = cast("dict[str, object]", document)
    if "canceled" in members:
        return Cancellation(job_ids=frozenset(_uuid(text) for text in _texts(members["canceled"])))
    delay_ms = members.get("delay_ms", 0)
    if not isinstance(delay_ms, int) or not 0 <= delay_ms <= milliseconds(HORIZON):
        raise InvalidNoticeError("delay_ms")
    job_types = members.get("job_types")
    due_at = members.get("due_at")
    return WakeUp(
        job_types=None if job_types is None else frozenset(_texts(job_types)),
        due_at=None if due_at is None else _instant(due_at),
        delay=timedelta(milliseconds=delay_ms),
    )


def encode_cancellations(job_ids: Collection[UUID]) -> list[str]:
    """Return the payloads that name these jobs."""
    ids = [str(job_id) for job_id in job_ids]
    return [encode_document(canceled=ids[start : start + _MAX_IDS]) for start in range(0, len(ids), _MAX_IDS)]


@operation("notices.send_notices")
def send_notices(payloads: Iterable[str], *, ended_run_ids: Iterable[UUID] = ()) -> Steps[None]:
    """Send notices in a transaction of their own, which does not wait for the disk: losing them harms nobody.

    Args:
        payloads: The notices for workers.
        ended_run_ids: The runs of which waiting clients are told.
    """
    texts = [payload for payload in payloads if len(payload.encode()) < _MAX_PAYLOAD_BYTES][:MAX_BATCH_ROWS]
    ended = [str(run_id) for run_id in ended_run_ids][:MAX_BATCH_ROWS]
    if texts or ended:
        document = encode_document(payloads=texts or None, ended_run_ids=ended or None)
        yield Statement(sql=_SEND, document=document, is_only=True)


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in cast("list[Any]", value)):
        raise InvalidNoticeError("no list of texts")
    return cast("list[str]", value)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidNoticeError("no job id") from None


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(cast("str", value))
    except (TypeError, ValueError):
        raise InvalidNoticeError("due_at") from None
    if instant.tzinfo is None:
        raise InvalidNoticeError("due_at")
    # At the beginning of time nothing can be reckoned with.
    if instant.year < _FIRST_YEAR:
        return None
    try:
        # It goes back to PostgreSQL, which refuses some offsets that Python takes.
        return instant.astimezone(UTC)
    except OverflowError:
        raise InvalidNoticeError("due_at") from None
