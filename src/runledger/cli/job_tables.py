"""The attempts and events of a job as rows of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

from runledger.cli.job_history import JobHistory
from runledger.cli.json_text import json_text
from runledger.cli.times import describe_duration
from runledger.core import JobAttempt, JobEvent, JobEventType, JobFailureKind, JobLog
from runledger.core.printable import printable, shortened

_FAILED_WORDS: Mapping[str, str] = {
    JobFailureKind.RETRYABLE: "failed",
    JobFailureKind.TERMINAL: "failed for good",
    JobFailureKind.PANICKED: "crashed",
    JobFailureKind.TIMEOUT: "took too long",
    JobFailureKind.LEASE_EXPIRED: "lost its worker",
}
LOG_COLUMNS = ("time", "run", "attempt", "level", "message")
"""What :func:`log_rows` holds."""

_ENDED_WORDS: Mapping[str, str] = {JobEventType.SUCCEEDED: "succeeded", JobEventType.CANCELED: "canceled"}


def attempt_rows(history: JobHistory) -> list[tuple[str, ...]]:
    """Return run, attempt, time of claim, duration, outcome and worker of each attempt."""
    # An attempt without a failure does not say itself how it ended.
    endings = {
        (event.run_number, event.attempt): _ENDED_WORDS[event.event_type]
        for event in history.events
        if event.event_type in _ENDED_WORDS
    }
    return [
        (
            str(attempt.run_number),
            str(attempt.attempt),
            _offset(attempt.leased_at, history.job.created_at),
            "" if attempt.finished_at is None else describe_duration(attempt.finished_at - attempt.leased_at),
            _outcome(attempt, endings.get((attempt.run_number, attempt.attempt), "ended")),
            printable(attempt.worker_id),
        )
        for attempt in history.attempts
    ]


def event_rows(history: JobHistory) -> list[tuple[str, ...]]:
    """Return time, type, run, attempt and detail of each event."""
    return [
        (
            _offset(event.occurred_at, history.job.created_at),
            event.event_type,
            str(event.run_number),
            "" if event.attempt is None else str(event.attempt),
            _detail(event),
        )
        for event in history.events
    ]


def log_rows(lines: Sequence[JobLog], *, since: datetime, shows_payload: bool) -> list[tuple[str, ...]]:
    """Return time, run, attempt, level and message of each line of a log.

    Args:
        lines: The lines.
        since: When the job was enqueued; times count from there.
        shows_payload: Whether the payload follows the message.
    """
    return [
        (
            _offset(line.occurred_at, since),
            str(line.run_number),
            "" if line.attempt is None else str(line.attempt),
            printable(line.level),
            _message(line, shows_payload=shows_payload),
        )
        for line in lines
    ]


def _message(line: JobLog, *, shows_payload: bool) -> str:
    message = printable(line.message)
    is_told = shows_payload and line.payload != {}
    return f"{message} {printable(json_text(line.payload, indent=None, ensure_ascii=False))}" if is_told else message


def _offset(instant: datetime, since: datetime) -> str:
    elapsed = instant - since
    return f"{'' if elapsed < timedelta() else '+'}{describe_duration(elapsed)}"


def _outcome(attempt: JobAttempt, ending: str) -> str:
    if attempt.finished_at is None:
        return "has not ended"
    if attempt.outcome is None:
        return ending
    failure = f"{_FAILED_WORDS[attempt.outcome]}{_because(attempt.error_code, attempt.error_message)}"
    return failure if attempt.retry_delay_ms is None else f"{failure}, to be tried again"


def _detail(event: JobEvent) -> str:
    """Say what an event adds to its type."""
    # Read with care: the members depend on the version that wrote them.
    payload = cast("Mapping[str, object]", event.payload if isinstance(event.payload, Mapping) else {})
    match event.event_type:
        case JobEventType.ENQUEUED | JobEventType.STAGE_CHANGED:
            return f"stage {printable(event.stage)}" if event.stage else ""
        case JobEventType.LEASED | JobEventType.HEARTBEAT:
            return f"by {_text(payload, 'worker_id')}"
        case JobEventType.PROGRESS:
            return " of ".join(str(count) for count in (event.progress_done, event.progress_total) if count is not None)
        case JobEventType.FAILED:
            words = _FAILED_WORDS.get(str(payload.get("kind")), "failed")
            return f"{words}{_because(_text(payload, 'error_code'), _text(payload, 'error_message'))}"
        case JobEventType.RETRY_SCHEDULED:
            delay_ms = payload.get("retry_delay_ms")
            is_known = isinstance(delay_ms, int)
            return f"due again after {describe_duration(timedelta(milliseconds=delay_ms))}" if is_known else ""
        case JobEventType.CANCELED | JobEventType.REQUEUED:
            return _text(payload, "reason")
        case JobEventType.SUCCEEDED | JobEventType.DEAD_LETTERED:
            return ""


def _text(payload: Mapping[str, object], member: str) -> str:
    value = payload.get(member)
    return shortened(value) if isinstance(value, str) else ""


def _because(code: str | None, message: str | None) -> str:
    texts = [shortened(text) for text in (code, message) if text]
    return f" ({': '.join(texts)})" if texts else ""
