"""Logs: lines of jobs, written in sets and read in pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import Admin, InvalidArgumentError, Organization, Scope
from runledger.postgres import jobs
from runledger.postgres.document import MAX_BATCH_ROWS
from tests.postgres.job_queue import JobQueue
from tests.postgres.jobs.test_reads import TENANT, VISIBILITY

NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)


def test_lines_come_back_as_they_were_given(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    line = jobs.JobLogLine(
        job_id=job_id, run_number=2, attempt=3, level="AUDIT", message="charged\n'\"", payload={"amount": [1, None]}
    )

    queue.run(jobs.insert_job_logs([line]))

    (stored,) = queue.run(jobs.list_job_logs(job_id, scope=Admin()))
    assert (stored.job_id, stored.run_number, stored.attempt) == (job_id, 2, 3)
    assert (stored.level, stored.message, stored.payload) == ("AUDIT", "charged\n'\"", {"amount": [1, None]})
    assert "charged" not in repr(stored)


def test_a_line_has_the_time_of_the_database_less_its_age(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    line = jobs.JobLogLine(job_id=job_id, message="late")
    queue.run(jobs.insert_job_logs([line], now=NOON))

    (stored,) = queue.run(jobs.list_job_logs(job_id, scope=Admin()))
    assert timedelta() <= NOON - stored.occurred_at < timedelta(minutes=1)


def test_pages_go_on_after_a_line(queue: JobQueue) -> None:
    job_id, other = queue.enqueue(), queue.enqueue()
    lines = [jobs.JobLogLine(job_id=job_id, message=f"line {number}") for number in range(5)]
    queue.run(jobs.insert_job_logs([*lines, jobs.JobLogLine(job_id=other, message="other")]))

    first = queue.run(jobs.list_job_logs(job_id, scope=Admin(), limit=3))
    second = queue.run(jobs.list_job_logs(job_id, scope=Admin(), limit=3, after_id=first[-1].id))

    assert [line.message for line in [*first, *second]] == [f"line {number}" for number in range(5)]


def test_a_payload_that_python_cannot_read_does_not_hide_the_other_lines(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    lines = [jobs.JobLogLine(job_id=job_id, message=message) for message in ("before", "state", "after")]
    queue.run(jobs.insert_job_logs(lines))
    queue.sql("UPDATE job_logs SET payload = %s::jsonb WHERE message = 'state'", "9" * 5_000)

    before, state, after = queue.run(jobs.list_job_logs(job_id, scope=Admin()))

    assert (before.message, state.message, after.message) == ("before", "state", "after")
    problem = "the stored JSON cannot be decoded: a number has too many digits"
    assert state.payload == {"runledger_undecodable": problem}


def test_more_lines_than_a_statement_takes_are_written_in_their_order(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    count = MAX_BATCH_ROWS + 2
    queue.run(jobs.insert_job_logs(jobs.JobLogLine(job_id=job_id, message=str(number)) for number in range(count)))

    stored = queue.run(jobs.list_job_logs(job_id, scope=Admin(), limit=count))
    assert [line.message for line in stored] == [str(number) for number in range(count)]


def test_no_lines_ask_nothing(queue: JobQueue) -> None:
    queue.run(jobs.insert_job_logs([]))


@pytest.mark.parametrize(("owner", "scope", "is_visible"), VISIBILITY)
def test_the_log_of_another_tenants_job_is_empty(
    queue: JobQueue, owner: UUID | None, scope: Scope, *, is_visible: bool
) -> None:
    """ADM-018."""
    job_id = queue.enqueue(organization_id=owner)
    queue.run(jobs.insert_job_logs([jobs.JobLogLine(job_id=job_id, message="secret")]))

    assert bool(queue.run(jobs.list_job_logs(job_id, scope=scope))) is is_visible


def test_a_line_of_no_job_is_seen_by_nobody(queue: JobQueue) -> None:
    lost = uuid4()
    queue.run(jobs.insert_job_logs([jobs.JobLogLine(job_id=lost, message="late")]))

    assert queue.run(jobs.list_job_logs(lost, scope=Admin())) == []
    assert queue.run(jobs.list_job_logs(lost, scope=Organization(TENANT))) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"message": " "}, "message"),
        ({"message": "a\0"}, "message"),
        ({"message": 17}, "message"),
        ({"message": "m", "level": ""}, "level"),
        ({"message": "m", "payload": [1]}, "payload"),
        ({"message": "m", "payload": {"a": float("nan")}}, "payload.a"),
    ],
)
def test_a_line_that_cannot_be_stored_is_refused_when_it_is_made(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        jobs.JobLogLine(job_id=uuid4(), **fields)

    assert caught.value.field == field


@pytest.mark.parametrize(("arguments", "field"), [({"limit": 0}, "limit"), ({"after_id": -1}, "after_id")])
def test_a_page_that_cannot_be_is_refused(queue: JobQueue, arguments: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        queue.run(jobs.list_job_logs(uuid4(), scope=Admin(), **arguments))

    assert caught.value.field == field
