"""The story of a job in plain words, before anybody decides how it looks."""

from __future__ import annotations

from datetime import datetime, timedelta

from runledger.cli.job_history import JobHistory
from runledger.cli.job_summary import summarize
from runledger.cli.job_tables import LOG_COLUMNS, attempt_rows, event_rows, log_rows
from runledger.cli.json_text import json_lines
from runledger.cli.story import Lines, Story, Table, Tree
from runledger.cli.times import describe_duration, describe_instant
from runledger.core import JobDeadLetter, JobRecord, JobStatus, JsonValue
from runledger.core.printable import printable, printable_lines


def tell_story(history: JobHistory, *, now: datetime, shows_payload: bool) -> Story:
    """Tell the story of a job.

    Args:
        history: The job.
        now: The present, for what waits and for leases.
        shows_payload: Whether payload, checkpoint, output and idempotency key are part of it.
    """
    job = history.job
    values = _values(job, history.dead_letter)
    facts = _facts(history)
    parts: list[Table | Lines | Tree] = [
        Table(
            title="Attempts",
            columns=("run", "attempt", "claimed", "took", "how it ended", "worker"),
            rows=attempt_rows(history),
        ),
        Table(title="Events", columns=("time", "event", "run", "attempt", "detail"), rows=event_rows(history)),
    ]
    if history.logs:
        parts += _logs(history, shows_payload=shows_payload)
    if _is_untold(job, history.dead_letter):
        parts.append(_failure("Last failure", job.last_error_code, job.last_error_message))
    if history.dead_letter is not None:
        parts.append(_dead_letter(history.dead_letter, job.created_at))
    if shows_payload:
        if job.idempotency_key is not None:
            facts.append(("idempotency key", printable(job.idempotency_key)))
        parts += [Lines(title=title, lines=json_lines(value)) for title, value in values.items()]
    else:
        hidden = [*values, *(["idempotency key"] if job.idempotency_key is not None else [])]
        them = "them" if len(hidden) > 1 else "it"
        facts.append(("not shown", f"{', '.join(hidden).lower()}; --show-payload shows {them}"))
    return Story(
        title=f"Job {job.id} of type {printable(job.job_type)}",
        status=job.status,
        summary=summarize(history, now),
        facts=facts,
        parts=parts,
    )


def _logs(history: JobHistory, *, shows_payload: bool) -> list[Table | Lines]:
    rows = log_rows(history.logs, since=history.job.created_at, shows_payload=shows_payload)
    table = Table(title="Log", columns=LOG_COLUMNS, rows=rows)
    if not history.has_more_logs:
        return [table]
    return [table, Lines(title="Log, continued", lines=[f"`runledger logs {history.job.id}` shows all of it"])]


def _facts(history: JobHistory) -> list[tuple[str, str]]:
    job = history.job
    facts: list[tuple[str, str | None]] = [
        ("status", job.status),
        ("stage", printable(job.stage)),
        ("progress", _progress(job)),
        (
            "attempt",
            f"{job.attempt} of {job.max_attempts}" + (f" in run {job.run_number}" if job.run_number > 1 else ""),
        ),
        ("enqueued", describe_instant(job.created_at)),
        ("due", describe_instant(job.next_run_at) if job.status is JobStatus.PENDING else None),
        ("started", _since(job.started_at, job.created_at)),
        ("finished", _since(job.finished_at, job.created_at)),
        ("lease ends", None if job.lease_expires_at is None else describe_instant(job.lease_expires_at)),
        ("worker", None if job.worker_id is None else printable(job.worker_id)),
        ("priority", str(job.priority)),
        ("timeout", describe_duration(timedelta(seconds=job.timeout_seconds))),
        ("organization", None if job.organization_id is None else str(job.organization_id)),
        ("workflow run", None if history.step is None else str(history.step.workflow_run_id)),
        ("workflow step", None if history.step is None else printable(history.step.step_key)),
    ]
    return [(label, text) for label, text in facts if text is not None]


def _progress(job: JobRecord) -> str | None:
    if job.progress_done is None:
        return None
    total = "" if job.progress_total is None else f" of {job.progress_total}"
    percentage = "" if job.progress_pct is None else f" ({job.progress_pct} %)"
    return f"{job.progress_done}{total}{percentage}"


def _since(instant: datetime | None, enqueued_at: datetime) -> str | None:
    if instant is None:
        return None
    return f"{describe_instant(instant)}, {describe_duration(instant - enqueued_at)} after it was enqueued"


def _is_untold(job: JobRecord, dead_letter: JobDeadLetter | None) -> bool:
    """Whether the last failure is not the one that the dead letter tells."""
    if job.last_error_code is None and job.last_error_message is None:
        return False
    told = None if dead_letter is None else (dead_letter.error_code, dead_letter.error_message)
    return told != (job.last_error_code, job.last_error_message)


def _failure(title: str, code: str | None, message: str | None) -> Lines:
    lines = [printable(code)] if code is not None else []
    return Lines(title=title, lines=[*lines, *printable_lines(message or "")])


def _dead_letter(dead_letter: JobDeadLetter, enqueued_at: datetime) -> Lines:
    failure = _failure("Dead letter", dead_letter.error_code, dead_letter.error_message)
    when = _since(dead_letter.failed_at, enqueued_at)
    head = f"given up in run {dead_letter.run_number}, on attempt {dead_letter.attempt}, at {when}"
    return Lines(title=failure.title, lines=[head, *failure.lines])


def _values(job: JobRecord, dead_letter: JobDeadLetter | None) -> dict[str, JsonValue]:
    """Return what may hold secrets, by title; a job always has a payload."""
    values: dict[str, JsonValue] = {"Payload": job.payload}
    if job.checkpoint is not None:
        values["Checkpoint"] = job.checkpoint
    if job.output is not None:
        values["Output"] = job.output
    if dead_letter is not None and dead_letter.payload_snapshot != job.payload:
        values["Payload of the dead letter"] = dead_letter.payload_snapshot
    if dead_letter is not None and dead_letter.checkpoint_snapshot not in (None, job.checkpoint):
        values["Checkpoint of the dead letter"] = dead_letter.checkpoint_snapshot
    return values
