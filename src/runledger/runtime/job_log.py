"""The log of a running job: what its handler says, and what the application logs while it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.postgres import jobs
from runledger.runtime.log_formatters import record_facts, record_tracebacks
from runledger.runtime.log_writer import LogWriter

_MAX_PAYLOAD_CHARACTERS = 16 * 1024
_NO_MESSAGE = "(no message)"
_CUT = "runledger_cut"


class RunningJobLog:
    """Takes the lines of one attempt. Never blocks and never fails over what it is given; may be used in any thread."""

    def __init__(self, writer: LogWriter, lease: LeaseIdentity) -> None:
        self._writer = writer
        self._lease = lease

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """Hand a line to the writer, changed so far that PostgreSQL can store it."""
        self._writer.add(
            jobs.JobLogLine(
                job_id=self._lease.job_id,
                run_number=self._lease.run_number,
                attempt=self._lease.attempt,
                level=_storable(level, otherwise="INFO"),
                message=_storable(message, otherwise=_NO_MESSAGE),
                payload=_storable_fields(fields),
            )
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
            log.write(record.levelname, record.getMessage(), fields)
        except Exception:  # noqa: BLE001 (a record whose arguments do not fit; as every handler of logging does)
            self.handleError(record)


def _storable(text: object, *, otherwise: str) -> str:
    cleaned = clean_error_text(str(text))
    return cleaned if cleaned.strip() else otherwise


def _storable_fields(fields: Mapping[str, object]) -> dict[str, JsonEncodable]:
    """Return the members that PostgreSQL can store; the text of a value stands for one that JSON cannot hold."""
    kept: dict[str, JsonEncodable] = {}
    room = _MAX_PAYLOAD_CHARACTERS
    for name, value in fields.items():
        member, size = _storable_value(value)
        room -= len(name) + size
        if room < 0:
            kept[_CUT] = True
            break
        kept[clean_error_text(name)] = member
    return kept


def _storable_value(value: object) -> tuple[JsonEncodable, int]:
    """Return a value, or what stands for it, and how many characters it takes."""
    try:
        text = encode_json(value, field="field")  # pyright: ignore[reportArgumentType]  (that is what it finds out)
    except InvalidArgumentError:
        pass
    else:
        if len(text) <= _MAX_PAYLOAD_CHARACTERS or not isinstance(value, str):
            return value, len(text)  # pyright: ignore[reportReturnType]
    try:
        shown = clean_error_text(str(value))
    except Exception:  # noqa: BLE001 (__str__ is the application's code)
        shown = f"<{type(value).__name__}>"
    return shown, len(shown)
