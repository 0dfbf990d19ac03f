"""Job definitions: write, read, change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runledger.core import InvalidArgumentError, JobDefinition
from runledger.postgres import jobs
from tests.postgres.job_queue import JOB_TYPE, JobQueue

SMS = JobDefinition(
    job_type="sms.send",
    version=2,
    max_attempts=5,
    default_timeout=timedelta(seconds=10),
    default_priority=-7,
    is_enabled=False,
)


def read(queue: JobQueue, job_type: str) -> JobDefinition | None:
    return queue.run(jobs.get_job_definition(job_type))


def types(definitions: list[JobDefinition]) -> list[str]:
    return [definition.job_type for definition in definitions]


def test_a_definition_comes_back_as_it_was_written(queue: JobQueue) -> None:
    queue.run(jobs.upsert_job_definitions([SMS]))

    assert read(queue, "sms.send") == SMS
    assert read(queue, "fax.send") is None


def test_an_upsert_overwrites_all_fields_and_leaves_existing_jobs_alone(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    before = queue.job(job_id)
    changed = JobDefinition(job_type=JOB_TYPE, version=3, max_attempts=1, default_priority=0, is_enabled=False)

    queue.run(jobs.upsert_job_definitions([changed]))

    assert read(queue, JOB_TYPE) == changed
    assert queue.job(job_id) == before


def test_of_two_definitions_of_a_type_in_one_call_the_last_counts(queue: JobQueue) -> None:
    first, last = (JobDefinition(job_type="sms.send", max_attempts=attempts) for attempts in (1, 2))

    queue.run(jobs.upsert_job_definitions([first, last]))

    assert read(queue, "sms.send") == last


def test_insert_missing_keeps_what_exists_and_names_what_it_added(queue: JobQueue) -> None:
    """ADM-028."""
    before = read(queue, JOB_TYPE)
    other = JobDefinition(job_type=JOB_TYPE, max_attempts=99)

    assert queue.run(jobs.insert_missing_job_definitions([other, SMS])) == ["sms.send"]
    assert queue.run(jobs.insert_missing_job_definitions([other, SMS])) == []
    assert read(queue, JOB_TYPE) == before
    assert read(queue, "sms.send") == SMS


def test_no_definitions_are_no_error(queue: JobQueue) -> None:
    queue.run(jobs.upsert_job_definitions([]))

    assert queue.run(jobs.insert_missing_job_definitions([])) == []


def test_the_filter_of_the_list_is_a_substring_without_case_and_without_patterns(queue: JobQueue) -> None:
    """ADM-026."""
    for job_type in ("Report.Daily", "50%_off", "report_x"):
        queue.define(job_type)

    def found(text: str | None) -> list[str]:
        return types(queue.run(jobs.list_job_definitions(job_type_contains=text)))

    assert sorted(found(None)) == sorted(["50%_off", "Report.Daily", JOB_TYPE, "report_x"])
    assert found("rEPORT.") == ["Report.Daily"]
    assert found("%") == ["50%_off"]
    assert sorted(found("_")) == ["50%_off", "report_x"]
    assert found("nothing") == []


def test_the_list_is_paged_in_the_order_of_types(queue: JobQueue) -> None:
    for job_type in ("d", "b", "a", "c"):
        queue.define(job_type)

    pages = [types(queue.run(jobs.list_job_definitions(limit=2, offset=offset))) for offset in (0, 2, 4)]

    assert pages == [["a", "b"], ["c", "d"], [JOB_TYPE]]


def test_an_update_changes_only_the_given_fields(queue: JobQueue) -> None:
    """ADM-027."""
    before = read(queue, JOB_TYPE)
    assert before is not None

    after = queue.run(jobs.update_job_definition(JOB_TYPE, default_priority=0, is_enabled=False))

    assert after == read(queue, JOB_TYPE)
    assert after == JobDefinition(
        job_type=JOB_TYPE,
        version=before.version,
        max_attempts=before.max_attempts,
        default_timeout=before.default_timeout,
        default_priority=0,
        is_enabled=False,
    )


def test_an_update_of_an_unknown_type_gives_none(queue: JobQueue) -> None:
    """ADM-027."""
    assert queue.run(jobs.update_job_definition("fax.send", max_attempts=1)) is None


def test_an_update_keeps_the_rules_of_a_definition() -> None:
    operation = jobs.update_job_definition(JOB_TYPE, max_attempts=0)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "max_attempts"):
        next(operation.begin())


@pytest.mark.parametrize(("field", "limit", "offset"), [("limit", 0, 0), ("offset", 1, -1)])
def test_a_senseless_page_is_refused(field: str, limit: int, offset: int) -> None:
    operation = jobs.list_job_definitions(limit=limit, offset=offset)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        next(operation.begin())
