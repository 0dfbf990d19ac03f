"""The words of a story: which sentence for which state, and how it looks as text and with colours."""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from runledger.cli.job_history import JobHistory
from runledger.cli.job_story import tell_story
from runledger.cli.job_summary import summarize
from runledger.cli.plain_text import print_plain
from runledger.cli.rich_text import print_rich
from runledger.cli.story import Lines, Story, Table
from runledger.core import (
    JobAttempt,
    JobClaimOrigin,
    JobDeadLetter,
    JobEvent,
    JobEventType,
    JobFailureKind,
    JobRecord,
    JobStatus,
    JsonValue,
)

_ID = UUID("0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e")
_ENQUEUED = datetime(2026, 5, 1, 12, tzinfo=UTC)
_NOW = _ENQUEUED + timedelta(minutes=10)


def at(seconds: float) -> datetime:
    """Return an instant so many seconds after the job was enqueued."""
    return _ENQUEUED + timedelta(seconds=seconds)


_JOB = JobRecord(
    id=_ID,
    job_type="email.send",
    organization_id=None,
    payload=None,
    status=JobStatus.PENDING,
    priority=100,
    run_number=1,
    attempt=0,
    max_attempts=3,
    timeout_seconds=900,
    next_run_at=_ENQUEUED,
    lease_expires_at=None,
    last_heartbeat_at=None,
    worker_id=None,
    started_at=None,
    finished_at=None,
    stage="queued",
    progress_done=None,
    progress_total=None,
    progress_pct=None,
    checkpoint=None,
    output=None,
    idempotency_key=None,
    status_reason=None,
    last_error_code=None,
    last_error_message=None,
    workflow_step_id=None,
    canceled_lease_expires_at=None,
    created_at=_ENQUEUED,
    updated_at=_ENQUEUED,
)
_ATTEMPT = JobAttempt(
    job_id=_ID,
    run_number=1,
    attempt=1,
    worker_id="worker-1",
    claim_origin=JobClaimOrigin.WORKER_PRESTART,
    leased_at=at(1),
    started_at=at(1),
    execution_started_persisted_at=at(1),
    finished_at=at(3.5),
    outcome=None,
    error_code=None,
    error_message=None,
    retry_delay_ms=None,
)
_DEAD_LETTER = JobDeadLetter(
    job_id=_ID,
    job_type="email.send",
    organization_id=None,
    run_number=1,
    attempt=1,
    error_code="smtp.refused",
    error_message="connection refused",
    payload_snapshot=None,
    checkpoint_snapshot=None,
    failed_at=at(60),
)
_FAILED: dict[str, Any] = {"last_error_code": "smtp.refused", "last_error_message": "connection refused"}


def history(
    *attempts: JobAttempt,
    events: tuple[JobEvent, ...] = (),
    dead_letter: JobDeadLetter | None = None,
    **changes: Any,
) -> JobHistory:
    return JobHistory(
        job=dataclasses.replace(_JOB, **changes),
        attempts=list(attempts),
        events=list(events),
        dead_letter=dead_letter,
        logs=[],
        has_more_logs=False,
    )


def event(event_type: JobEventType, payload: JsonValue = None, **changes: Any) -> JobEvent:
    plain = JobEvent(
        id=1,
        job_id=_ID,
        run_number=1,
        attempt=1,
        event_type=event_type,
        stage=None,
        progress_done=None,
        progress_total=None,
        payload=payload,
        occurred_at=at(3.5),
    )
    return dataclasses.replace(plain, **changes)


def story(told: JobHistory, *, shows_payload: bool = False) -> Story:
    return tell_story(told, now=_NOW, shows_payload=shows_payload)


def table(told: JobHistory, title: str) -> list[tuple[str, ...]]:
    return next(part.rows for part in story(told).parts if isinstance(part, Table) and part.title == title)


def lines(told: Story) -> dict[str, list[str]]:
    return {part.title: part.lines for part in told.parts if isinstance(part, Lines)}


@pytest.mark.parametrize(
    ("told", "summary"),
    [
        (history(), "Waits for its first attempt; it has been due for 10 min."),
        (history(next_run_at=_NOW + timedelta(hours=1)), "Waits for its first attempt, due in 1 h."),
        (
            history(attempt=1, next_run_at=_NOW + timedelta(seconds=20), **_FAILED),
            "Attempt 1 of 3 failed (smtp.refused: connection refused). Waits for attempt 2 of 3, due in 20 s.",
        ),
        (
            dataclasses.replace(history(), type_paused_at=at(60), is_type_served=False),
            (
                "Waits for its first attempt; it has been due for 10 min. Its type is paused since "
                "2026-05-01T12:01:00.000000Z; `runledger definition resume` ends that. No live worker serves its type; "
                "`runledger workers` lists them."
            ),
        ),
        (
            dataclasses.replace(history(next_run_at=at(3600)), is_type_served=False),
            "Waits for its first attempt, due in 50 min.",
        ),
        (history(attempt=1), "Waits for attempt 2 of 3; it has been due for 10 min."),
        (
            history(run_number=2),
            "Waits for its first attempt; it has been due for 10 min. This is run 2: it was requeued.",
        ),
        (
            history(
                _ATTEMPT, status=JobStatus.LEASED, attempt=1, worker_id="worker-1", lease_expires_at=_NOW + timedelta(1)
            ),
            "Attempt 1 of 3 has been running on worker-1 for 9 min 59 s.",
        ),
        (
            history(
                dataclasses.replace(_ATTEMPT, execution_started_persisted_at=None),
                status=JobStatus.LEASED,
                attempt=1,
                worker_id="worker-1",
                lease_expires_at=_NOW + timedelta(1),
            ),
            "Attempt 1 of 3 has been held by worker-1 for 9 min 59 s.",
        ),
        (
            history(_ATTEMPT, status=JobStatus.LEASED, attempt=1, worker_id="worker-1", lease_expires_at=at(300)),
            (
                "Attempt 1 of 3 has been running on worker-1 for 9 min 59 s. Its lease ended 5 min ago: the worker "
                "died, hung or lost the database, and the reaper of any worker will take the job back."
            ),
        ),
        (
            history(status=JobStatus.SUCCEEDED, attempt=2, finished_at=at(31.2)),
            "Succeeded on attempt 2 of 3, 31.2 s after it was enqueued.",
        ),
        (
            history(status=JobStatus.DEAD_LETTERED, attempt=3, finished_at=at(90), status_reason="TIMEOUT", **_FAILED),
            (
                "Given up on attempt 3 of 3, 1 min 30 s after it was enqueued: its last attempt took too long "
                "(smtp.refused: connection refused)."
            ),
        ),
        (
            history(status=JobStatus.DEAD_LETTERED, attempt=1, finished_at=at(0.04), status_reason="PANICKED"),
            "Given up on attempt 1 of 3, 40 ms after it was enqueued: its handler crashed.",
        ),
        (
            history(status=JobStatus.CANCELED, finished_at=at(4), status_reason="CANCELED"),
            "Canceled, 4 s after it was enqueued.",
        ),
        (
            history(
                status=JobStatus.CANCELED,
                finished_at=at(4),
                status_reason="no longer\x1b[31m wanted",
                canceled_lease_expires_at=_NOW + timedelta(seconds=1),
            ),
            (
                "Canceled, 4 s after it was enqueued: no longer\\x1b[31m wanted. "
                "Its handler may run on until 2026-05-01T12:10:01.000000Z."
            ),
        ),
    ],
)
def test_the_summary_says_where_the_job_stands(told: JobHistory, summary: str) -> None:
    assert summarize(told, _NOW) == summary


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("job.handler_not_registered", "no handler is registered for its type where it ran"),
        ("job.payload_invalid", "its payload does not fit its handler, which was not called"),
        ("job.payload_undecodable", "its payload cannot be read, and its handler was not called"),
        ("job.output_invalid", "what its handler returned cannot be stored"),
        ("job.outcome_unwritable", "how its last attempt ended could not be written"),
        ("db.business_rule_violation", "its last attempt failed, and trying again cannot help"),
        ("smtp.refused", "its handler said that trying again cannot help"),
    ],
)
def test_a_failure_for_good_is_told_of_the_handler_only_if_it_said_so(code: str, why: str) -> None:
    told = history(
        status=JobStatus.DEAD_LETTERED, attempt=1, finished_at=at(2), status_reason="TERMINAL", last_error_code=code
    )

    assert summarize(told, _NOW) == f"Given up on attempt 1 of 3, 2 s after it was enqueued: {why} ({code})."


@pytest.mark.parametrize(
    ("changes", "events", "outcome"),
    [
        ({"finished_at": None}, (), "has not ended"),
        ({}, (event(JobEventType.SUCCEEDED),), "succeeded"),
        ({}, (event(JobEventType.CANCELED),), "canceled"),
        ({}, (event(JobEventType.SUCCEEDED, attempt=2),), "ended"),
        (
            {"outcome": JobFailureKind.TIMEOUT, "error_code": "job.slow", "retry_delay_ms": 30_000},
            (),
            "took too long (job.slow), to be tried again",
        ),
        (
            {"outcome": JobFailureKind.PANICKED, "error_code": "job.crash", "error_message": "ValueError: x\nmore"},
            (),
            "crashed (job.crash: ValueError: x ...)",
        ),
    ],
)
def test_an_attempt_says_how_it_ended(changes: dict[str, Any], events: tuple[JobEvent, ...], outcome: str) -> None:
    (row,) = table(history(dataclasses.replace(_ATTEMPT, **changes), events=events), "Attempts")

    took = "" if "finished_at" in changes else "2.5 s"
    assert row == ("1", "1", "+1 s", took, outcome, "worker-1")


@pytest.mark.parametrize(
    ("told", "detail"),
    [
        (event(JobEventType.ENQUEUED, stage="scheduled"), "stage scheduled"),
        (event(JobEventType.LEASED, {"worker_id": "worker-1", "lease_duration_seconds": 60}), "by worker-1"),
        (event(JobEventType.HEARTBEAT, {"worker_id": "worker-1"}), "by worker-1"),
        (event(JobEventType.STAGE_CHANGED, stage="upload\n"), "stage upload\\n"),
        (event(JobEventType.PROGRESS, progress_done=3, progress_total=10), "3 of 10"),
        (event(JobEventType.PROGRESS, progress_done=3), "3"),
        (
            event(JobEventType.FAILED, {"kind": "LEASE_EXPIRED", "error_code": "job.gone", "error_message": "no news"}),
            "lost its worker (job.gone: no news)",
        ),
        (event(JobEventType.FAILED, {"kind": "A_NEW_KIND"}), "failed"),
        (event(JobEventType.FAILED, ["not", "an", "object"]), "failed"),
        (event(JobEventType.RETRY_SCHEDULED, {"retry_delay_ms": 90_000}), "due again after 1 min 30 s"),
        (event(JobEventType.RETRY_SCHEDULED), ""),
        (event(JobEventType.REQUEUED, {"reason": "WORKER_SHUTDOWN"}), "WORKER_SHUTDOWN"),
        (event(JobEventType.CANCELED, {"reason": None}), ""),
        (event(JobEventType.SUCCEEDED, {}), ""),
        (event(JobEventType.DEAD_LETTERED, {"kind": "TERMINAL"}), ""),
    ],
)
def test_an_event_says_what_it_adds_to_its_type(told: JobEvent, detail: str) -> None:
    (row,) = table(history(events=(told,)), "Events")

    assert row == ("+3.5 s", told.event_type, "1", "1", detail)


def test_every_type_of_event_has_words() -> None:
    rows = table(history(events=tuple(event(event_type) for event_type in JobEventType)), "Events")

    assert [row[1] for row in rows] == list(JobEventType)


def test_facts_are_told_when_there_are_any() -> None:
    told = history(
        status=JobStatus.LEASED,
        run_number=2,
        attempt=1,
        progress_done=1,
        progress_total=3,
        progress_pct=Decimal("33.33"),
        started_at=at(1),
        lease_expires_at=at(700),
        worker_id="worker-1",
    )

    assert story(told).facts == [
        ("status", "LEASED"),
        ("stage", "queued"),
        ("progress", "1 of 3 (33.33 %)"),
        ("attempt", "1 of 3 in run 2"),
        ("enqueued", "2026-05-01T12:00:00.000000Z"),
        ("started", "2026-05-01T12:00:01.000000Z, 1 s after it was enqueued"),
        ("lease ends", "2026-05-01T12:11:40.000000Z"),
        ("worker", "worker-1"),
        ("priority", "100"),
        ("timeout", "15 min"),
        ("not shown", "payload; --show-payload shows it"),
    ]


def test_the_last_failure_is_told_unless_the_dead_letter_tells_it() -> None:
    same = story(history(status=JobStatus.DEAD_LETTERED, dead_letter=_DEAD_LETTER, **_FAILED))
    requeued = story(history(run_number=2, attempt=1, last_error_code="smtp.slow", dead_letter=_DEAD_LETTER))

    told = [
        "given up in run 1, on attempt 1, at 2026-05-01T12:01:00.000000Z, 1 min after it was enqueued",
        "smtp.refused",
        "connection refused",
    ]
    assert lines(same) == {"Dead letter": told}
    assert lines(requeued) == {"Last failure": ["smtp.slow"], "Dead letter": told}


def test_what_was_asked_for_is_shown_with_what_the_dead_letter_kept() -> None:
    told = history(
        payload={"to": "Zoë"},
        checkpoint=[1],
        output=False,
        idempotency_key="key\n1",
        dead_letter=dataclasses.replace(_DEAD_LETTER, payload_snapshot=1, checkpoint_snapshot=2),
    )

    shown = story(told, shows_payload=True)

    assert ("idempotency key", "key\\n1") in shown.facts
    assert {title: text for title, text in lines(shown).items() if title != "Dead letter"} == {
        "Payload": ["{", '  "to": "Zoë"', "}"],
        "Checkpoint": ["[", "  1", "]"],
        "Output": ["false"],
        "Payload of the dead letter": ["1"],
        "Checkpoint of the dead letter": ["2"],
    }


def test_plain_text_has_columns_and_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_plain(
        story(
            history(
                dataclasses.replace(_ATTEMPT, worker_id="w"),
                status=JobStatus.SUCCEEDED,
                attempt=1,
                finished_at=at(3.5),
                events=(
                    event(JobEventType.ENQUEUED, attempt=None, stage="queued", occurred_at=at(0)),
                    event(JobEventType.LEASED, {"worker_id": "w"}, occurred_at=at(1)),
                    event(JobEventType.SUCCEEDED),
                ),
            )
        )
    )

    assert (
        capsys.readouterr().out
        == """\
Job 0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e of type email.send

Succeeded on attempt 1 of 3, 3.5 s after it was enqueued.

  status:     SUCCEEDED
  stage:      queued
  attempt:    1 of 3
  enqueued:   2026-05-01T12:00:00.000000Z
  finished:   2026-05-01T12:00:03.500000Z, 3.5 s after it was enqueued
  priority:   100
  timeout:    15 min
  not shown:  payload; --show-payload shows it

Attempts
  run  attempt  claimed  took   how it ended  worker
  1    1        +1 s     2.5 s  succeeded     w

Events
  time    event      run  attempt  detail
  +0 ms   ENQUEUED   1             stage queued
  +1 s    LEASED     1    1        by w
  +3.5 s  SUCCEEDED  1    1
"""
    )


@pytest.mark.parametrize("status", JobStatus)
def test_colours_change_no_word_and_markup_of_others_is_text(status: JobStatus) -> None:
    told = history(
        _ATTEMPT,
        status=status,
        attempt=1,
        job_type="[bold]email[/nonsense]",
        last_error_code="[link=evil]",
        last_error_message=":boom: \x1b[31m",
        worker_id="worker-1",
        events=(event(JobEventType.LEASED, {"worker_id": "[red]w"}),),
    )
    output = io.StringIO()

    print_rich(story(told, shows_payload=True), Console(file=output, width=200))

    text = output.getvalue()
    for words in (
        "of type [bold]email[/nonsense]",
        story(told).summary,
        "by [red]w",
        "[link=evil]",
        ":boom: \\x1b[31m",
    ):
        assert words in text
    assert "\x1b" not in text


def test_a_narrow_terminal_folds_what_it_cannot_show() -> None:
    output = io.StringIO()

    print_rich(story(history(dataclasses.replace(_ATTEMPT, worker_id="x" * 60))), Console(file=output, width=80))

    assert output.getvalue().count("x") == 60 + output.getvalue().count("ex")
    assert "none" in output.getvalue()
