"""The log of a running job: what its handler says, and what the application logs while it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar

from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.json_form import json_form
from runledger.core.json_value import JsonValue
from runledger.postgres import jobs
from runledger.runtime.log_formatters import record_facts, record_message, record_tracebacks
from runledger.runtime.log_writer import LogWriter
from runledger.runtime.logged_values import NoRoomError, logged_text, logged_value

_MAX_PAYLOAD_CHARACTERS = 16 * 1024
_NO_MESSAGE = "(no message)"
_CUT = "runledger_cut"


class RunningJobLog:
    """Takes the lines of one attempt. Never blocks and never fails over what it is given; may be used in any thread."""

    def __init__(self, writer: LogWriter, lease: LeaseIdentity) -> None:
        self._writer = writer
        self._lease = lease

    def write(self, level: str, message: object, fields: Mapping[str, object]) -> None:
        """Hand a line to the writer, changed so far that PostgreSQL can store it."""
        try:
            self._writer.add(self._line(level, message, fields))
        except Exception:  # noqa: BLE001 (no memory, no room on the stack, or a class that hides its own name)
            self._writer.lose_line()

    def _line(self, level: str, message: object, fields: Mapping[str, object]) -> jobs.JobLogLine:
        return jobs.JobLogLine(
            job_id=self._lease.job_id,
            run_number=self._lease.run_number,
            attempt=self._lease.attempt,
            level=_storable(level, otherwise="INFO"),
            message=_storable(message, otherwise=_NO_MESSAGE),
            payload=_storable_fields(fields),
        )


running_job_log: ContextVar[RunningJobLog | None] = ContextVar("running_job_log", default=None)
"""The log of the job whose handler runs in this context."""


class JobLogHandler(logging.Handler):
    """Attaches the records of ``logging`` to the job in whose handler they are made.

    ::

        logging.getLogger().addHandler(JobLogHandler(level=logging.INFO))

    A record belongs to the job whose handler runs: in its task and the tasks that it starts, in its thread, and in
    ``asyncio.to_thread``. Threads of another kind know of no job, unless they run in a copy of the context
    (:func:`contextvars.copy_context`). Records that belong to no job are left to other handlers.

    The line has the level and the message of the record. Its payload has the name of the logger, what was passed as
    ``extra``, and the traceback. Nothing waits for the database: see :meth:`RunningJobContext.log`.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Attach a record to the running job, if there is one."""
        log = running_job_log.get()
        if log is None:
            return
        try:
            fields: dict[str, object] = {"logger": record.name, **record_facts(record)}
            tracebacks = record_tracebacks(record)
            if tracebacks:
                fields["traceback"] = "\n".join(tracebacks)
            log.write(record.levelname, record_message(record), fields)
        except Exception:  # noqa: BLE001 (as every handler of logging does)
            self.handleError(record)


def _storable(text: object, *, otherwise: str) -> str:
    cleaned = clean_error_text(logged_text(text))
    return cleaned if cleaned.strip() else otherwise


def _storable_fields(fields: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return copies of the members that PostgreSQL can store, as many of them as there is room for."""
    kept: dict[str, JsonValue] = {}
    room = _MAX_PAYLOAD_CHARACTERS
    for field, value in fields.items():
        name = clean_error_text(logged_text(field))
        try:
            kept[name], room = logged_value(value, room=room - len(name), form=json_form, clean=clean_error_text)
        except NoRoomError:
            kept[_CUT] = True
            break
    return kept
