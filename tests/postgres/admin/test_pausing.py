"""Pausing of job types: what is paused waits, whatever claims and however."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runledger.core import JobDefinition
from runledger.postgres import admin, jobs
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue

NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
TTL = timedelta(minutes=1)


def claim(queue: JobQueue, job_types: list[str] | None) -> set[str]:
    """Claim everything that can be claimed, and return the types of that."""
    return {job.job_type for job in queue.run(jobs.claim_jobs(WORKER, lease_ttl=TTL, limit=100, job_types=job_types))}


def test_a_paused_type_keeps_since_when_and_is_resumed(queue: JobQueue) -> None:
    first = queue.run(admin.pause_job_type(JOB_TYPE, now=NOON))
    again = queue.run(admin.pause_job_type(JOB_TYPE, now=LATER))

    assert first is not None
    assert again is not None
    assert (first.paused_at, again.paused_at) == (NOON, NOON)
    assert queue.run(jobs.get_job_definition(JOB_TYPE)) == again
    assert [definition.paused_at for definition in queue.run(jobs.list_job_definitions())] == [NOON]

    resumed = queue.run(admin.resume_job_type(JOB_TYPE))
    assert resumed is not None
    assert resumed.paused_at is None


def test_an_unknown_type_is_none(queue: JobQueue) -> None:
    assert queue.run(admin.pause_job_type("unknown")) is None
    assert queue.run(admin.resume_job_type("unknown")) is None


def test_a_definition_that_is_written_leaves_the_pause_alone(queue: JobQueue) -> None:
    queue.run(admin.pause_job_type(JOB_TYPE, now=NOON))

    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=JOB_TYPE, max_attempts=9)]))
    changed = queue.run(jobs.update_job_definition(JOB_TYPE, max_attempts=7))

    assert changed is not None
    assert changed.paused_at == NOON


# No type, one, and more than the branches that the claim has.
CLAIMS = {
    "any": None,
    "one": [JOB_TYPE],
    "two": [JOB_TYPE, "other"],
    "seventeen": [JOB_TYPE, "other", *(f"type.{number}" for number in range(15))],
}


@pytest.mark.parametrize("job_types", CLAIMS.values(), ids=CLAIMS)
def test_what_is_paused_is_not_claimed_and_the_rest_is(queue: JobQueue, job_types: list[str] | None) -> None:
    queue.define("other")
    for job_type in (JOB_TYPE, "other"):
        queue.enqueue(job_type=job_type)
    queue.run(admin.pause_job_type(JOB_TYPE))
    others = {"other"} if job_types is None or "other" in job_types else set[str]()
    listed = queue.run(jobs.list_due_job_ids(limit=10, job_types=job_types))

    assert len(listed) == len(others)
    assert claim(queue, job_types) == others
    queue.run(admin.resume_job_type(JOB_TYPE))
    assert claim(queue, job_types) == {JOB_TYPE}


def test_of_more_types_than_there_are_branches_all_but_the_paused_are_claimed(queue: JobQueue) -> None:
    """The rest would fit into the branches, of which the statement has one then."""
    types = [f"type.{number}" for number in range(17)]
    for job_type in types:
        queue.define(job_type)
        queue.enqueue(job_type=job_type)
    for job_type in types[:5]:
        queue.run(admin.pause_job_type(job_type))

    assert claim(queue, types) == set(types[5:])


def test_jobs_of_a_paused_type_are_enqueued_run_on_retried_and_canceled(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    lease = queue.claim_one().lease
    queue.run(admin.pause_job_type(JOB_TYPE))

    assert queue.run(jobs.renew_leases(WORKER, [lease], lease_ttl=TTL)) == {job_id}
    assert queue.run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=lease)])) == {job_id}
    assert queue.enqueue() is not None
