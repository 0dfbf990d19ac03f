"""A database: pools that are refused at once with their reason, and the address behind an application's pool."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from runledger.core import EnqueueRequest, InvalidArgumentError, JobStatus
from runledger.postgres import Database, DatabaseConnectionError, jobs, run, run_sync
from tests.postgres.job_queue import JOB_TYPE, JobQueue

REQUEST = EnqueueRequest(JOB_TYPE, None)
SECRET = "s3cr3t"


async def test_pools_are_ready_when_they_are_handed_out(queue: JobQueue) -> None:
    database = Database(queue.url)
    pool = await database.open_pool(min_size=1, max_size=1)
    sync_pool = database.open_sync_pool(min_size=1, max_size=1)
    try:
        ids = [await run(pool, jobs.enqueue_job(REQUEST)), run_sync(sync_pool, jobs.enqueue_job(REQUEST))]
    finally:
        await pool.close()
        sync_pool.close()

    assert [queue.job(job_id).status for job_id in ids] == [JobStatus.PENDING] * 2


@contextmanager
def an_error_without_secret() -> Generator[None]:
    with pytest.raises(DatabaseConnectionError) as caught:
        yield
    assert str(caught.value).startswith("cannot connect to PostgreSQL at host ")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert isinstance(caught.value.source, psycopg.Error)


@pytest.mark.parametrize("wrong", [{"dbname": "missing"}, {"port": 1}], ids=["database", "port"])
async def test_a_pool_that_cannot_connect_says_so_at_once(queue: JobQueue, wrong: dict[str, str | int]) -> None:
    database = Database(make_conninfo(queue.url, password=SECRET, **wrong))

    with an_error_without_secret():
        await database.open_pool(min_size=1, max_size=1)
    with an_error_without_secret():
        database.open_sync_pool(min_size=1, max_size=1)


async def test_the_database_of_an_applications_pool_is_the_one_it_connects_to(queue: JobQueue) -> None:
    name = conninfo_to_dict(queue.url)["dbname"]
    pool = AsyncConnectionPool(
        make_conninfo(queue.url, dbname="postgres"),
        kwargs={"dbname": name, "autocommit": True, "prepare_threshold": 0},
        open=False,
    )

    with Database.of_pool(pool).own_sync_connection() as own:
        job_id = own.run(jobs.enqueue_job(REQUEST))

    assert queue.job(job_id).status is JobStatus.PENDING


def test_a_schema_that_cannot_be_is_refused_when_it_is_named() -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "schema"):
        Database("dbname=app", schema="pg_app")
