"""The list of dead letters."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from runledger.core import Admin, InvalidArgumentError, JobStatus, Scope
from runledger.postgres import admin, jobs
from runledger.postgres.admin import dead_letters
from tests.postgres.admin.test_job_lists import settle
from tests.postgres.job_queue import JobQueue
from tests.postgres.jobs.test_reads import VISIBILITY


def pages(queue: JobQueue, **filters: Any) -> list[list[UUID]]:
    found: list[list[UUID]] = []
    cursor: str | None = None
    while not found or cursor is not None:
        page = queue.run(admin.list_dead_letters(scope=Admin(), cursor=cursor, **filters))
        found.append([letter.job_id for letter in page.dead_letters])
        cursor = page.next_cursor
    return found


def test_dead_letters_are_listed_latest_first_also_of_requeued_jobs(queue: JobQueue) -> None:
    first, second = (settle(queue, JobStatus.DEAD_LETTERED) for _ in range(2))
    queue.run(jobs.requeue_job(second, scope=Admin()))

    letters = queue.run(admin.list_dead_letters(scope=Admin())).dead_letters

    assert [letter.job_id for letter in letters] == [second, first]
    assert (letters[0].error_code, letters[0].error_message, letters[0].attempt) == ("c", "m", 1)


def test_letters_of_one_instant_are_paged_without_a_gap(queue: JobQueue) -> None:
    everything = sorted((settle(queue, JobStatus.DEAD_LETTERED) for _ in range(5)), reverse=True)
    queue.sql("UPDATE job_dead_letters SET failed_at = '2026-05-26 12:00:00.123456+00'")

    assert pages(queue, limit=2) == [everything[:2], everything[2:4], everything[4:]]


def test_types_are_filtered_and_a_page_reads_so_many(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "SCAN_LIMIT", 3)
    queue.define("rare_type")
    rare = settle(queue, JobStatus.DEAD_LETTERED, job_type="rare_type")
    for _ in range(3):
        settle(queue, JobStatus.DEAD_LETTERED)

    assert pages(queue, job_type="rare_type") == [[], [rare]]
    assert pages(queue, job_type_contains="E_T") == [[], [rare]]
    assert pages(queue, job_type_contains="rare%") == [[], []]


@pytest.mark.parametrize(("owner", "scope", "is_visible"), VISIBILITY)
def test_a_scope_lists_its_own_letters_only(
    queue: JobQueue, owner: UUID | None, scope: Scope, *, is_visible: bool
) -> None:
    settle(queue, JobStatus.DEAD_LETTERED, organization_id=owner)

    assert bool(queue.run(admin.list_dead_letters(scope=scope)).dead_letters) is is_visible


@pytest.mark.parametrize("cursor", ["AAAA", "A" * 22, "f" + "_" * 31])
def test_a_cursor_of_no_such_list_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        next(admin.list_dead_letters(scope=Admin(), cursor=cursor).begin())

    assert caught.value.code == "job.invalid_pagination"
