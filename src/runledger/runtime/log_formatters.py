"""Records of the log as lines, with their facts: readable, or JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from runledger.core.printable import printable, printable_lines

# What every record has; the rest are the facts that were passed as `extra`.
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextLogFormatter(logging.Formatter):
    """One readable line for a record, with its facts: ``2026-05-01T12:00:00.123Z WARNING worker.claim_failed code=…``.

    Time is UTC. What a terminal would obey is escaped. The lines of a traceback follow. Records of any logger can be
    formatted: the facts are what was passed as ``extra``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the lines of a traceback."""
        facts = [f"{name}={_text_value(value)}" for name, value in record_facts(record).items()]
        line = " ".join([_instant(record), record.levelname, printable(record.getMessage()), *facts])
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
            "event": record.getMessage(),
        }
        tracebacks = record_tracebacks(record)
        if tracebacks:
            own["traceback"] = "\n".join(tracebacks)
        # A fact of the application cannot take the place of one of these.
        return json.dumps(
            own | {name: value for name, value in record_facts(record).items() if name not in own}, default=str
        )


def record_facts(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what was passed as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def record_tracebacks(record: logging.LogRecord) -> list[str]:
    """Return the texts of its exception and of its stack, where it has them."""
    formatter = logging.Formatter()
    texts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return [*texts, formatter.formatStack(record.stack_info)] if record.stack_info else texts


def _text_value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if not text or any(character in ' ="' for character in text) or not text.isprintable():
        return json.dumps(text) if isinstance(value, str) else text
    return text


def _instant(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, tz=UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
