"""Lists and counts of jobs: filters, scopes, pages, and what bounds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    EnqueueRequest,
    Global,
    InvalidArgumentError,
    JobFailureKind,
    JobRecord,
    JobStatus,
    Scope,
)
from runledger.core.jobs.summaries import JobSummary
from runledger.postgres import admin, jobs
from runledger.postgres.admin import job_lists
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue
from tests.postgres.jobs.test_reads import VISIBILITY

EVERYBODY = Admin()
EVERY_STATUS = pytest.mark.parametrize("status", [None, *JobStatus])


def settle(queue: JobQueue, status: JobStatus | None, **settings: Any) -> UUID:
    """Enqueue a job and bring it to a status; none is PENDING."""
    job_id = queue.enqueue(**settings)
    if status in {None, JobStatus.PENDING}:
        # Not due, so that no claim for another one takes it.
        queue.sql("UPDATE job_queue SET next_run_at = now() + interval '1 day' WHERE id = %s", job_id)
        return job_id
    if status is JobStatus.CANCELED:
        queue.run(jobs.cancel_job(job_id, scope=Admin()))
        return job_id
    lease = queue.claim_one().lease
    if status is JobStatus.SUCCEEDED:
        queue.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=lease)]))
    elif status is JobStatus.DEAD_LETTERED:
        queue.run(
            jobs.fail_jobs(
                WORKER,
                [jobs.AttemptFailure(lease=lease, kind=JobFailureKind.TERMINAL, error_code="c", error_message="m")],
            )
        )
    return job_id


def ids(queue: JobQueue, *, scope: Scope = EVERYBODY, **filters: Any) -> list[UUID]:
    return [job.id for job in queue.run(admin.list_jobs(scope=scope, **filters)).jobs]


def pages(queue: JobQueue, **filters: Any) -> Iterator[list[UUID]]:
    cursor: str | None = None
    while True:
        page = queue.run(admin.list_jobs(scope=Admin(), cursor=cursor, **filters))
        yield [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return


@pytest.fixture
def short_scan(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a page read five jobs at most."""
    monkeypatch.setattr(job_lists, "SCAN_LIMIT", 5)
    return 5


@EVERY_STATUS
def test_jobs_of_a_status_are_listed_newest_first_and_counted(queue: JobQueue, status: JobStatus | None) -> None:
    """ADM-016."""
    wanted: list[UUID] = []
    for other in (*JobStatus, *JobStatus):
        job_id = settle(queue, other)
        if status in {None, other}:
            wanted.insert(0, job_id)

    count = queue.run(admin.count_jobs(scope=Admin(), status=status))

    assert ids(queue, status=status) == wanted
    assert (count.count, count.is_exact) == (len(wanted), True)


def test_a_summary_has_what_the_record_has_but_its_json_and_key(queue: JobQueue) -> None:
    settle(queue, JobStatus.DEAD_LETTERED, payload={"secret": 1})
    request = EnqueueRequest(JOB_TYPE, {"secret": 1}, idempotency_key="secret")
    job_id = queue.run(jobs.enqueue_job(request))

    summary = queue.run(admin.get_job_summaries([job_id], scope=Admin()))[0]
    record = queue.job(job_id)

    members = {field.name for field in dataclasses.fields(JobSummary)}
    assert {name: getattr(summary, name) for name in members} == {name: getattr(record, name) for name in members}
    assert not members & {"payload", "checkpoint", "output", "idempotency_key"}
    assert members < {field.name for field in dataclasses.fields(JobRecord)}


@EVERY_STATUS
@pytest.mark.parametrize(("owner", "scope", "is_visible"), VISIBILITY)
def test_a_scope_lists_and_counts_its_own_jobs_only(
    queue: JobQueue, owner: UUID | None, scope: Scope, status: JobStatus | None, *, is_visible: bool
) -> None:
    """ADM-016, ADM-032."""
    job_id = settle(queue, status, organization_id=owner)
    found = [job_id] if is_visible else []

    assert ids(queue, scope=scope, status=status) == found
    assert queue.run(admin.count_jobs(scope=scope, status=status)).count == len(found)
    assert [job.id for job in queue.run(admin.get_job_summaries([job_id], scope=scope))] == found


@EVERY_STATUS
def test_types_are_filtered_exactly_or_by_a_literal_text(queue: JobQueue, status: JobStatus | None) -> None:
    """ADM-016; pattern characters mean themselves, as in later versions of the original."""
    types = ("email.send", "Email.sent", "sms_send", "smsXsend")
    by_type: dict[str, UUID] = {}
    for job_type in types:
        queue.define(job_type)
        by_type[job_type] = settle(queue, status, job_type=job_type)

    def listed(**filters: Any) -> set[str]:
        found = ids(queue, status=status, **filters)
        assert queue.run(admin.count_jobs(scope=Admin(), status=status, **filters)).count == len(found)
        return {job_type for job_type, job_id in by_type.items() if job_id in found}

    assert listed(job_type="email.send") == {"email.send"}
    assert listed(job_type="email") == set()
    assert listed(job_type_contains="EMAIL.sen") == {"email.send", "Email.sent"}
    assert listed(job_type_contains="s_s") == {"sms_send"}
    assert listed(job_type_contains="%") == set()
    assert listed(job_type="email.send", job_type_contains="sms") == set()


@EVERY_STATUS
def test_pages_hold_each_job_once_in_order(queue: JobQueue, status: JobStatus | None) -> None:
    everything = [settle(queue, status) for _ in range(7)][::-1]

    assert list(pages(queue, status=status, limit=3)) == [everything[:3], everything[3:6], everything[6:]]


@EVERY_STATUS
def test_a_cursor_stays_good_when_its_job_is_deleted(queue: JobQueue, status: JobStatus | None) -> None:
    everything = [settle(queue, status) for _ in range(4)][::-1]
    first = queue.run(admin.list_jobs(scope=Admin(), status=status, limit=2))
    queue.sql("DELETE FROM job_queue WHERE id = %s", everything[1])
    later = settle(queue, status)

    second = queue.run(admin.list_jobs(scope=Admin(), status=status, limit=2, cursor=first.next_cursor))

    assert [job.id for job in second.jobs] == everything[2:]
    assert later not in everything


def test_a_filter_that_lets_little_through_gives_short_pages_with_a_cursor(queue: JobQueue, short_scan: int) -> None:
    queue.define("rare")
    rare = settle(queue, JobStatus.SUCCEEDED, job_type="rare")
    for _ in range(2 * short_scan):
        settle(queue, JobStatus.SUCCEEDED)

    assert list(pages(queue, job_type="rare")) == [[], [], [rare]]
    assert list(pages(queue, job_type="rare", status=JobStatus.SUCCEEDED)) == [[], [], [rare]]


@pytest.mark.parametrize("status", [JobStatus.DEAD_LETTERED, JobStatus.CANCELED])
def test_of_given_up_jobs_no_others_are_read(queue: JobQueue, short_scan: int, status: JobStatus) -> None:
    wanted = settle(queue, status)
    for _ in range(2 * short_scan):
        settle(queue, JobStatus.SUCCEEDED)

    assert list(pages(queue, status=status)) == [[wanted]]


def test_of_given_up_jobs_too_a_page_reads_so_many(queue: JobQueue, short_scan: int) -> None:
    queue.define("rare")
    rare = settle(queue, JobStatus.DEAD_LETTERED, job_type="rare")
    for _ in range(short_scan):
        settle(queue, JobStatus.DEAD_LETTERED)

    assert list(pages(queue, status=JobStatus.DEAD_LETTERED, job_type="rare")) == [[], [rare]]


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.LEASED])
@pytest.mark.parametrize("count", [4, 5, 6, 11])
def test_few_live_jobs_are_sorted_and_many_are_found_among_all(
    queue: JobQueue, short_scan: int, status: JobStatus, count: int
) -> None:
    """More than a page may read, and the list goes over to the newest of all."""
    live = [settle(queue, status) for _ in range(count)][::-1]
    finished = [queue.enqueue() for _ in range(2 * short_scan)]
    queue.sql("UPDATE job_queue SET status = 'SUCCEEDED', attempt = 1 WHERE id = ANY (%s)", finished)

    found = list(pages(queue, status=status, limit=4))

    assert [job_id for page in found for job_id in page] == live
    assert (len(found[0]) > 0) == (count <= short_scan)


def test_a_count_that_reads_so_many_is_not_exact(queue: JobQueue, short_scan: int) -> None:
    for _ in range(short_scan - 1):
        queue.enqueue()
    assert queue.run(admin.count_jobs(scope=Admin())).is_exact
    assert queue.run(admin.count_jobs(scope=Admin(), status=JobStatus.PENDING)).is_exact

    queue.enqueue()

    for status in (None, JobStatus.PENDING):
        count = queue.run(admin.count_jobs(scope=Admin(), status=status))
        assert (count.count, count.is_exact) == (short_scan, False)


def test_summaries_are_read_by_id_once_each_in_order(queue: JobQueue) -> None:
    first, second = queue.enqueue(), queue.enqueue()

    summaries = queue.run(admin.get_job_summaries([second, uuid4(), first, second], scope=Admin()))

    assert [job.id for job in summaries] == [first, second]
    assert queue.run(admin.get_job_summaries([], scope=Admin())) == []


REFUSED: dict[str, Any] = {
    "no rows": {"limit": 0},
    "too many rows": {"limit": 1_001},
    "no number": {"limit": "10"},
    "no base64": {"cursor": "!!"},
    "no text": {"cursor": 17},
    "too short": {"cursor": "AAAA"},
    "of another list": {"cursor": "A" * 32},
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_a_page_that_cannot_be_is_refused_before_any_query(arguments: Any) -> None:
    """jobs.md 19: job.invalid_pagination."""
    with pytest.raises(InvalidArgumentError) as caught:
        next(admin.list_jobs(scope=Admin(), **arguments).begin())

    assert caught.value.code == "job.invalid_pagination"


@pytest.mark.parametrize(
    ("limit", "remedy"), [(0, "for at least one row"), (-1, "for at least one row"), (1_001, "for less")]
)
def test_the_remedy_of_a_limit_fits_it(limit: int, remedy: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"limit: is not between 1 and 1000; ask {remedy}"):
        next(admin.list_jobs(scope=Admin(), limit=limit).begin())


def test_too_many_ids_are_refused() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        next(admin.get_job_summaries([uuid4() for _ in range(1_001)], scope=Admin()).begin())

    assert caught.value.code == "job.invalid_pagination"


def test_a_scope_or_status_of_another_kind_is_refused() -> None:
    nothing: Any = None
    with pytest.raises(InvalidArgumentError, match="scope"):
        next(admin.list_jobs(scope=nothing).begin())
    text: Any = "PENDING"
    with pytest.raises(InvalidArgumentError, match="status"):
        next(admin.list_jobs(scope=Global(), status=text).begin())
