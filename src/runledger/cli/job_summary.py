"""Where a job stands, in a sentence or two."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from runledger.cli.job_history import JobHistory
from runledger.cli.times import describe_duration, describe_instant
from runledger.core import JobFailureKind, JobRecord, JobStatus
from runledger.core.printable import printable, shortened

_GIVEN_UP: Mapping[str, str] = {
    JobFailureKind.RETRYABLE: "its last attempt failed",
    JobFailureKind.TERMINAL: "its handler said that trying again cannot help",
    JobFailureKind.PANICKED: "its handler crashed",
    JobFailureKind.TIMEOUT: "its last attempt took too long",
    JobFailureKind.LEASE_EXPIRED: "its last attempt lost its worker",
}

# A worker gives these up by itself: the handler was not called, or has not asked for it.
_GIVEN_UP_BY_THE_WORKER: Mapping[str, str] = {
    "job.handler_not_registered": "no handler is registered for its type where it ran",
    "job.payload_invalid": "its payload does not fit its handler, which was not called",
    "job.payload_undecodable": "its payload cannot be read, and its handler was not called",
    "job.output_invalid": "what its handler returned cannot be stored",
    "job.outcome_unwritable": "how its last attempt ended could not be written",
}
# Where the database refuses an outcome, the code is that of the refusal. A handler may have given it as well.
_CODES_OF_REFUSALS = ("db.", "job.", "workflow.")


def summarize(history: JobHistory, now: datetime) -> str:
    """Say where the job stands, what it waits for, and why it failed."""
    job = history.job
    match job.status:
        case JobStatus.PENDING:
            sentence = _pending(history, now)
        case JobStatus.LEASED:
            sentence = _leased(history, now)
        case JobStatus.SUCCEEDED:
            sentence = f"Succeeded on attempt {_attempt(job)}{_age_at_end(job)}."
        case JobStatus.DEAD_LETTERED:
            sentence = f"Given up on attempt {_attempt(job)}{_age_at_end(job)}: {_why_given_up(job)}{_failure(job)}."
        case JobStatus.CANCELED:
            sentence = _canceled(job, now)
    return sentence if job.run_number == 1 else f"{sentence} This is run {job.run_number}: it was requeued."


def _pending(history: JobHistory, now: datetime) -> str:
    job = history.job
    if job.attempt == 0:
        waits = "Waits for its first attempt"
    elif job.last_error_code is None:
        waits = f"Waits for attempt {job.attempt + 1} of {job.max_attempts}"
    else:
        waits = (
            f"Attempt {_attempt(job)} failed{_failure(job)}. Waits for attempt {job.attempt + 1} of {job.max_attempts}"
        )
    if job.next_run_at > now:
        return f"{waits}, due in {describe_duration(job.next_run_at - now)}.{_paused(history)}"
    served = "" if history.is_type_served else " No live worker serves its type; `runledger workers` lists them."
    return f"{waits}; it has been due for {describe_duration(now - job.next_run_at)}.{_paused(history)}{served}"


def _paused(history: JobHistory) -> str:
    if history.type_paused_at is None:
        return ""
    since = describe_instant(history.type_paused_at)
    return f" Its type is paused since {since}; `runledger definition resume` ends that."


def _leased(history: JobHistory, now: datetime) -> str:
    job = history.job
    attempt = history.attempts[-1] if history.attempts else None
    is_started = attempt is not None and attempt.execution_started_persisted_at is not None
    since = f" for {describe_duration(now - attempt.leased_at)}" if attempt is not None else ""
    worker = printable(job.worker_id or "an unknown worker")
    sentence = f"Attempt {_attempt(job)} has been {'running on' if is_started else 'held by'} {worker}{since}"
    if job.lease_expires_at is None or job.lease_expires_at > now:
        return f"{sentence}."
    overdue = describe_duration(now - job.lease_expires_at)
    return (
        f"{sentence}. Its lease ended {overdue} ago: the worker died, hung or lost the database, "
        "and the reaper of any worker will take the job back."
    )


def _why_given_up(job: JobRecord) -> str:
    code = job.last_error_code or ""
    if job.status_reason == JobFailureKind.TERMINAL and code.startswith(_CODES_OF_REFUSALS):
        return _GIVEN_UP_BY_THE_WORKER.get(code, "its last attempt failed, and trying again cannot help")
    return _GIVEN_UP.get(job.status_reason or "", "it failed")


def _canceled(job: JobRecord, now: datetime) -> str:
    reason = "" if job.status_reason in {None, JobStatus.CANCELED} else f": {shortened(job.status_reason or '')}"
    sentence = f"Canceled{_age_at_end(job)}{reason}."
    if job.canceled_lease_expires_at is None or job.canceled_lease_expires_at <= now:
        return sentence
    return f"{sentence} Its handler may run on until {describe_instant(job.canceled_lease_expires_at)}."


def _failure(job: JobRecord) -> str:
    texts = [shortened(text) for text in (job.last_error_code, job.last_error_message) if text]
    return f" ({': '.join(texts)})" if texts else ""


def _attempt(job: JobRecord) -> str:
    return f"{job.attempt} of {job.max_attempts}"


def _age_at_end(job: JobRecord) -> str:
    if job.finished_at is None:
        return ""
    return f", {describe_duration(job.finished_at - job.created_at)} after it was enqueued"
