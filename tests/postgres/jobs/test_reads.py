"""Reads: a job and its history, seen through each scope."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from runledger.core import Admin, Global, InvalidArgumentError, JobFailureKind, Organization, Scope
from runledger.postgres import jobs
from tests.postgres.job_queue import JobQueue

TENANT = UUID("0198c0de-0000-7000-8000-0000000000aa")
OTHER_TENANT = UUID("0198c0de-0000-7000-8000-0000000000bb")
NIL = UUID(int=0)

VISIBILITY: list[tuple[UUID | None, Scope, bool]] = [
    (None, Admin(), True),
    (None, Global(), True),
    (None, Organization(TENANT), False),
    (None, Organization(NIL), False),
    (TENANT, Admin(), True),
    (TENANT, Global(), False),
    (TENANT, Organization(TENANT), True),
    (TENANT, Organization(OTHER_TENANT), False),
    (TENANT, Organization(NIL), False),
    (NIL, Organization(NIL), True),
    (NIL, Global(), False),
]


def dead_letter_of(queue: JobQueue, owner: UUID | None) -> UUID:
    job_id = queue.enqueue({"to": "a@example.org"}, organization_id=owner)
    lease = queue.claim_one().lease
    failure = jobs.AttemptFailure(lease=lease, kind=JobFailureKind.TERMINAL, error_code="code", error_message="message")
    queue.run(jobs.fail_job(failure))
    return job_id


@pytest.mark.parametrize(("owner", "scope", "is_visible"), VISIBILITY)
def test_a_scope_shows_its_own_jobs_and_hides_all_others(
    queue: JobQueue, owner: UUID | None, scope: Scope, *, is_visible: bool
) -> None:
    """ADM-018, ADM-032."""
    job_id = dead_letter_of(queue, owner)

    job = queue.run(jobs.get_job(job_id, scope=scope))
    letter = queue.run(jobs.get_dead_letter(job_id, scope=scope))
    events = queue.run(jobs.list_job_events(job_id, scope=scope))
    attempts = queue.run(jobs.list_job_attempts(job_id, scope=scope))

    if is_visible:
        assert job is not None
        assert letter is not None
        assert (job.id, job.organization_id, letter.organization_id) == (job_id, owner, owner)
        assert (len(events), len(attempts)) == (4, 1)
    else:
        assert (job, letter, events, attempts) == (None, None, [], [])


@pytest.mark.parametrize("scope", [Admin(), Global(), Organization(TENANT)], ids=lambda scope: type(scope).__name__)
def test_an_unknown_job_is_none_and_has_no_history(queue: JobQueue, scope: Scope) -> None:
    unknown = uuid4()

    assert queue.run(jobs.get_job(unknown, scope=scope)) is None
    assert queue.run(jobs.get_dead_letter(unknown, scope=scope)) is None
    assert queue.run(jobs.list_job_events(unknown, scope=scope)) == []
    assert queue.run(jobs.list_job_attempts(unknown, scope=scope)) == []


def test_events_are_paged_oldest_first_after_the_last_one_seen(queue: JobQueue) -> None:
    """ADM-017."""
    job_id = dead_letter_of(queue, None)
    dead_letter_of(queue, None)
    first = queue.run(jobs.list_job_events(job_id, scope=Admin(), limit=3))

    rest = queue.run(jobs.list_job_events(job_id, scope=Admin(), limit=3, after_id=first[-1].id))

    assert [event.event_type for event in first + rest] == ["ENQUEUED", "LEASED", "FAILED", "DEAD_LETTERED"]
    assert [event.id for event in first + rest] == sorted(event.id for event in first + rest)
    assert {event.job_id for event in first + rest} == {job_id}


def test_progress_is_a_percentage_with_two_decimals(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    queue.sql("UPDATE job_queue SET progress_done = 1, progress_total = 3")

    job = queue.job(job_id)

    assert (job.progress_done, job.progress_total, str(job.progress_pct)) == (1, 3, "33.33")


@pytest.mark.parametrize(("field", "limit", "after_id"), [("limit", 0, 0), ("limit", -1, 0), ("after_id", 1, -1)])
def test_a_senseless_page_is_refused(field: str, limit: int, after_id: int) -> None:
    operation = jobs.list_job_events(uuid4(), scope=Admin(), limit=limit, after_id=after_id)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        next(operation.begin())
