"""Runtime configs: one object for each job type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from runledger.core import BlankJobTypeError, InvalidArgumentError, UndecodableJsonError
from runledger.postgres import QueryError, jobs
from tests.postgres.job_queue import JOB_TYPE, JobQueue

_UNREADABLE = f'{{"rate": {"9" * 5_000}}}'


@dataclass(frozen=True)
class Smtp:
    host: str
    rate: int


def test_a_config_is_stored_and_overwritten_as_a_whole(queue: JobQueue) -> None:
    author = uuid4()
    first = queue.run(jobs.upsert_job_runtime_config(JOB_TYPE, {"host": "a", "old": 1}, updated_by_user_id=author))
    second = queue.run(jobs.upsert_job_runtime_config(JOB_TYPE, Smtp("b", 3), schema_version=2))

    assert (first.schema_version, first.config, first.updated_by_user_id) == (1, {"host": "a", "old": 1}, author)
    assert (second.schema_version, second.config, second.updated_by_user_id) == (2, {"host": "b", "rate": 3}, None)
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert queue.run(jobs.get_job_runtime_config(JOB_TYPE)) == second
    assert queue.run(jobs.get_required_job_runtime_config(JOB_TYPE)) == second
    assert "host" not in repr(second)


def test_insert_if_missing_keeps_what_is_there(queue: JobQueue) -> None:
    assert queue.run(jobs.insert_job_runtime_config_if_missing(JOB_TYPE, {"host": "a"}))
    assert not queue.run(jobs.insert_job_runtime_config_if_missing(JOB_TYPE, {"host": "b"}, schema_version=2))

    kept = queue.run(jobs.get_required_job_runtime_config(JOB_TYPE))
    assert (kept.config, kept.schema_version) == ({"host": "a"}, 1)


def test_a_config_that_is_absent_is_none_or_an_error(queue: JobQueue) -> None:
    """ADM-029."""
    assert queue.run(jobs.get_job_runtime_config(JOB_TYPE)) is None
    with pytest.raises(QueryError) as caught:
        queue.run(jobs.get_required_job_runtime_config(JOB_TYPE))

    assert caught.value.code == "job.runtime_config_not_found"


@pytest.mark.parametrize("store", [jobs.upsert_job_runtime_config, jobs.insert_job_runtime_config_if_missing])
def test_an_unknown_type_is_refused(queue: JobQueue, store: Any) -> None:
    """ADM-030."""
    with pytest.raises(QueryError) as caught:
        queue.run(store("unknown", {}))

    assert caught.value.code == "job.definition_not_found"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((JOB_TYPE, [1]), "config"),
        ((JOB_TYPE, None), "config"),
        ((JOB_TYPE, "text"), "config"),
        ((JOB_TYPE, {"a": float("inf")}), "config.a"),
    ],
)
def test_a_config_must_be_an_object_that_can_be_stored(queue: JobQueue, arguments: Any, field: str) -> None:
    """ADM-030."""
    with pytest.raises(InvalidArgumentError) as caught:
        queue.run(jobs.upsert_job_runtime_config(*arguments))

    assert caught.value.field == field


def test_the_database_refuses_what_is_no_object_too(queue: JobQueue) -> None:
    """ADM-030."""
    queue.run(jobs.upsert_job_runtime_config(JOB_TYPE, {}))
    with pytest.raises(Exception, match="chk_job_runtime_configs_config_object"):
        queue.sql("UPDATE job_runtime_configs SET config = '[]'")


def test_other_arguments_are_checked(queue: JobQueue) -> None:
    with pytest.raises(BlankJobTypeError):
        queue.run(jobs.upsert_job_runtime_config(" ", {}))
    with pytest.raises(InvalidArgumentError, match="schema_version"):
        queue.run(jobs.upsert_job_runtime_config(JOB_TYPE, {}, schema_version=0))
    with pytest.raises(InvalidArgumentError, match="limit"):
        queue.run(jobs.list_job_runtime_configs(limit=0))
    with pytest.raises(InvalidArgumentError, match="offset"):
        queue.run(jobs.list_job_runtime_configs(offset=-1))


def test_a_list_is_ordered_by_type_and_its_filter_is_exact(queue: JobQueue) -> None:
    for job_type in ("b.two", "a.one", "a.on"):
        queue.define(job_type)
        queue.run(jobs.upsert_job_runtime_config(job_type, {"of": job_type}))

    everything = queue.run(jobs.list_job_runtime_configs())
    page = queue.run(jobs.list_job_runtime_configs(limit=1, offset=1))
    filtered = queue.run(jobs.list_job_runtime_configs(job_type="a.on"))

    assert [config.job_type for config in everything] == ["a.on", "a.one", "b.two"]
    assert [config.job_type for config in page] == ["a.one"]
    assert [config.job_type for config in filtered] == ["a.on"]


def test_a_config_that_python_cannot_read_does_not_hide_the_others(queue: JobQueue) -> None:
    for job_type in ("a.one", "b.two"):
        queue.define(job_type)
        queue.run(jobs.upsert_job_runtime_config(job_type, {"of": job_type}))
    queue.sql("UPDATE job_runtime_configs SET config = %s::jsonb WHERE job_type = 'a.one'", _UNREADABLE)

    unreadable, readable = queue.run(jobs.list_job_runtime_configs())

    assert readable.config == {"of": "b.two"}
    assert unreadable.config_json == _UNREADABLE
    with pytest.raises(UndecodableJsonError, match="a number has too many digits"):
        _ = unreadable.config


def test_a_config_is_deleted_alone_and_with_its_definition(queue: JobQueue) -> None:
    queue.run(jobs.upsert_job_runtime_config(JOB_TYPE, {}))

    assert queue.run(jobs.delete_job_runtime_config(JOB_TYPE))
    assert not queue.run(jobs.delete_job_runtime_config(JOB_TYPE))

    queue.run(jobs.upsert_job_runtime_config(JOB_TYPE, {}))
    queue.sql("DELETE FROM job_definitions")
    assert queue.run(jobs.list_job_runtime_configs()) == []
