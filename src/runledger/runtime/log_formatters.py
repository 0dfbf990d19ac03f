"""Records of the log as lines, with their facts: readable, or JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from runledger.core.json_value import JsonValue
from runledger.core.printable import printable, printable_lines
from runledger.runtime.logged_values import NoRoomError, logged_text, logged_value

# What every record has; the rest are the facts that were passed as `extra`.
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_FACT_CHARACTERS = 1024 * 1024


class TextLogFormatter(logging.Formatter):
    """One readable line for a record, with its facts: ``2026-05-01T12:00:00.123Z WARNING worker.claim_failed code=…``.

    Time is UTC. What a terminal would obey is escaped. The lines of a traceback follow. Records of any logger can be
    formatted: the facts are what was passed as ``extra``. No record is lost over a fact: a text stands for what JSON
    cannot hold, and for what raises when it is read.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the lines of a traceback."""
        facts = [f"{name}={_text_value(value)}" for name, value in record_facts(record).items()]
        line = " ".join([_instant(record), record.levelname, printable(record_message(record)), *facts])
        return "\n".join([line, *(shown for text in record_tracebacks(record) for shown in printable_lines(text))])


class JsonLogFormatter(TextLogFormatter):
    """One line with a JSON object for a record, with its facts.

    Its members are ``time`` (UTC), ``level``, ``logger``, ``event`` (the message), the facts, which cannot replace one
    of these, and ``traceback`` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        own = {
            "time": _instant(record),
            "level": record.levelname,
            "logger": record.name,
            "event": record_message(record),
        }
        tracebacks = record_tracebacks(record)
        if tracebacks:
            own["traceback"] = "\n".join(tracebacks)
        # A fact of the application cannot take the place of one of these.
        return json.dumps(
            own | {name: _json_value(value) for name, value in record_facts(record).items() if name not in own}
        )


def record_facts(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what was passed as ``extra``."""
    return {logged_text(name): value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def record_message(record: logging.LogRecord) -> str:
    """Return its message, and what it would be made of where its arguments do not fit or have no text."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 (the arguments are the application's, as is their code)
        return f"{logged_text(record.msg)} (not formatted: {type(error).__name__})"


def record_tracebacks(record: logging.LogRecord) -> list[str]:
    """Return the texts of its exception and of its stack, where it has them."""
    formatter = logging.Formatter()
    texts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return [*texts, formatter.formatStack(record.stack_info)] if record.stack_info else texts


def _text_value(value: object) -> str:
    plain = _json_value(value)
    is_text = issubclass(type(value), str)  # unlike isinstance, this asks nothing of the value itself
    text = plain if is_text and isinstance(plain, str) else json.dumps(plain)
    if not text or any(character in ' ="' for character in text) or not text.isprintable():
        return json.dumps(text) if is_text else text
    return text


def _json_value(value: object) -> JsonValue:
    try:
        # By its text, as Python's own formatter shows it: repr may hide what members of a dataclass hold.
        return logged_value(value, room=_MAX_FACT_CHARACTERS, form=str)[0]
    except NoRoomError:
        return f"<{type(value).__name__}, too large>"


def _instant(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, tz=UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
