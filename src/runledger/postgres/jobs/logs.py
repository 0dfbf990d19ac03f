"""Logs: lines that an application attaches to its jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from uuid import UUID

from runledger.core.database_text import unstorable_text_problem
from runledger.core.errors import InvalidArgumentError
from runledger.core.item_checks import check_items
from runledger.core.jobs.records import JobLog
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.core.scope import Scope
from runledger.postgres.document import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ROWS,
    check_cursor,
    check_limit,
    check_now,
    encode_document,
    job_document,
    json_text,
)
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_log
from runledger.postgres.sql_files import SqlFile

_INSERT = SqlFile("logs", "insert_job_logs")
_LIST = SqlFile("logs", "list_job_logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLogLine:
    """A line for the log of a job.

    Attributes:
        job_id: The job.
        run_number: The run of the job.
        attempt: The attempt within the run, or ``None``.
        level: How important it is, such as ``"INFO"``.
        message: What happened.
        payload: More about it; a JSON object.
        logged_at: When it was written, by the monotonic clock of this process.
        payload_json: The payload as JSON text.

    Raises:
        InvalidArgumentError: Level or message is blank, or nothing that PostgreSQL can store; or the payload is none.
    """

    job_id: UUID
    run_number: int = 1
    attempt: int | None = None
    level: str = "INFO"
    message: str
    payload: InitVar[Mapping[str, JsonEncodable] | None] = None
    logged_at: float = field(default_factory=time.monotonic)
    payload_json: str = field(init=False, repr=False)

    def __post_init__(self, payload: Mapping[str, JsonEncodable] | None) -> None:
        _check_text("level", self.level)
        _check_text("message", self.message)
        if payload is not None and not isinstance(payload, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("payload", f"is of type {type(payload).__name__}", "pass a dict")
        # The one way to set a field of a frozen dataclass.
        object.__setattr__(self, "payload_json", encode_json(payload or {}, field="payload"))


@operation("jobs.insert_job_logs")
def insert_job_logs(lines: Iterable[JobLogLine], *, now: datetime | None = None) -> Steps[None]:
    """Add lines to the logs of jobs, in their order.

    Nothing is asked about the jobs: a line may come when the attempt is over.

    Args:
        lines: The lines.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_now(now)
    documents = list(_documents(lines, now))
    for document in documents:
        yield Statement(sql=_INSERT, document=document, is_only=len(documents) == 1)


@operation("jobs.list_job_logs")
def list_job_logs(job_id: UUID, *, scope: Scope, limit: int = 1_000, after_id: int = 0) -> Steps[list[JobLog]]:
    """Return lines of a job's log, oldest first.

    Args:
        job_id: The job; one outside the scope has no log.
        scope: Whose rows may be seen.
        limit: The most lines to return.
        after_id: Only lines after this one; the id of the last line seen turns the page.
    """
    check_limit(limit)
    check_cursor("after_id", after_id)
    document = job_document(job_id, scope=scope, limit=limit, after_id=after_id)
    rows = yield Statement(sql=_LIST, document=document, is_only=True)
    return [decode_log(row) for row in rows]


def _documents(lines: Iterable[JobLogLine], now: datetime | None) -> Iterator[str]:
    sent_at = time.monotonic()
    members: list[str] = []
    room = MAX_BATCH_BYTES
    for line in check_items("lines", lines, JobLogLine, remedy="pass JobLogLine objects"):
        member = _member(line, sent_at)
        # Four bytes is the most that a character takes.
        room -= 4 * len(member)
        if members and (len(members) == MAX_BATCH_ROWS or room < 0):
            yield _document(members, now)
            members, room = [], MAX_BATCH_BYTES - 4 * len(member)
        members.append(member)
    if members:
        yield _document(members, now)


def _document(members: list[str], now: datetime | None) -> str:
    head = encode_document(now=now)
    return f'{head[:-1]}{"," if now is not None else ""}"lines":[{",".join(members)}]}}'


def _member(line: JobLogLine, sent_at: float) -> str:
    attempt = "null" if line.attempt is None else line.attempt
    age_us = max(round((sent_at - line.logged_at) * 1_000_000), 0)
    return (
        f'{{"job_id":"{line.job_id}","run_number":{line.run_number},"attempt":{attempt},'
        f'"level":{json_text(line.level)},"message":{json_text(line.message)},'
        f'"payload":{line.payload_json},"age_us":{age_us}}}'
    )


def _check_text(field_name: str, text: object) -> None:
    if not isinstance(text, str):
        raise InvalidArgumentError(field_name, f"is of type {type(text).__name__}", "pass a str")
    problem = "is blank" if not text.strip() else unstorable_text_problem(text)
    if problem is not None:
        raise InvalidArgumentError(field_name, problem, "say something that PostgreSQL can store")
