"""A job and its history as one JSON object, for programs."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from runledger.cli.job_history import JobHistory
from runledger.cli.json_text import json_text
from runledger.cli.times import describe_instant
from runledger.core import JobAttempt, JobDeadLetter, JobEvent, JobLog, JobRecord

_MAY_HOLD_SECRETS = frozenset(
    {"payload", "checkpoint", "output", "idempotency_key", "payload_snapshot", "checkpoint_snapshot"}
)


def encode_history(history: JobHistory, *, shows_payload: bool) -> str:
    """Return the object, indented; its keys are the attributes of the records.

    Args:
        history: What to encode.
        shows_payload: Whether it holds what may be secret. A member that is not shown is left out: null would say
            that there is nothing.
    """
    hidden = frozenset[str]() if shows_payload else _MAY_HOLD_SECRETS
    document = {
        "job": _members(history.job, hidden),
        "attempts": [_members(attempt, hidden) for attempt in history.attempts],
        # The payload of an event is Runledger's own: codes, delays, reasons.
        "events": [_members(event, frozenset()) for event in history.events],
        "dead_letter": None if history.dead_letter is None else _members(history.dead_letter, hidden),
        "logs": [_members(line, hidden) for line in history.logs],
        "has_more_logs": history.has_more_logs,
        "type_paused_at": history.type_paused_at,
        "is_type_served": history.is_type_served,
    }
    return json_text(document, default=_encode)


def job_document(job: JobRecord) -> dict[str, object]:
    """Return a job as plain JSON values, without what may be secret."""
    return plain_document(_members(job, _MAY_HOLD_SECRETS))


def log_document(line: JobLog, *, shows_payload: bool) -> dict[str, object]:
    """Return a line of a log as plain JSON values."""
    return plain_document(_members(line, frozenset() if shows_payload else _MAY_HOLD_SECRETS))


def plain_document(members: dict[str, object]) -> dict[str, object]:
    """Return members as plain JSON values."""
    return {
        name: _encode(value) if isinstance(value, datetime | Decimal | UUID) else value
        for name, value in members.items()
    }


def _members(
    record: JobRecord | JobAttempt | JobEvent | JobDeadLetter | JobLog, hidden: frozenset[str]
) -> dict[str, object]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record) if field.name not in hidden}


def _encode(value: object) -> object:
    match value:
        case datetime():
            return describe_instant(value)
        case Decimal():
            return float(value)
        case UUID():
            return str(value)
        case _:
            raise TypeError(type(value).__name__)
