"""Processes that sync catalogs at the same time, and those that meet them at the same job types."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import psycopg
import pytest

from runledger.core import CatalogDeclaration, CatalogSyncMode, EnqueueRequest, JobDefinition
from runledger.postgres import Database, QueryError, catalogs, jobs, schedules
from runledger.postgres.catalogs import CatalogSyncResult
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.schedules.steps import ADMIN, NAME, request
from tests.races.session import Session

PROCESSES, ROUNDS, TYPES = 6, 8, 30
EXACT = CatalogSyncMode.EXACT
SHORT = timedelta(milliseconds=50)


def declaration(
    job_types: Sequence[str], *, scope: str = "shop", names: Sequence[str] = (), max_attempts: int = 8
) -> CatalogDeclaration:
    return CatalogDeclaration(
        scope=scope,
        definitions=tuple(JobDefinition(job_type=one, max_attempts=max_attempts) for one in job_types),
        schedules=tuple(request(name, job_type=job_types[0]) for name in names),
    )


def test_processes_that_start_at_once_with_the_same_catalog_sync_it_once(queue: JobQueue) -> None:
    """Each round has new types, changed ones and schedules, while others insert or overwrite the same definitions."""
    together = Barrier(PROCESSES)

    def start(number: int) -> list[CatalogSyncResult]:
        results: list[CatalogSyncResult] = []
        with Database(queue.url).own_sync_connection() as connection:
            for turn in range(ROUNDS):
                first_new = turn * TYPES // 2
                job_types = [f"t{first_new + one:03}" for one in range(TYPES)]
                names = [f"s{one}" for one in range(turn + 5)]
                if number % 2:
                    job_types, names = job_types[::-1], names[::-1]
                declared = declaration(sorted(job_types), names=names, max_attempts=turn + 1)
                together.wait()
                if number == PROCESSES - 1:
                    connection.run(jobs.insert_missing_job_definitions(declared.definitions[::-1]))
                elif number == PROCESSES - 2:
                    connection.run(jobs.upsert_job_definitions(declared.definitions[::-1]))
                else:
                    results.append(connection.run(catalogs.sync_catalog(declared, mode=EXACT)))
        return results

    with ThreadPoolExecutor(PROCESSES) as threads:
        futures = [threads.submit(start, number) for number in range(PROCESSES)]
        results = [result for future in futures for result in future.result()]

    inserted = [job_type for result in results for job_type in result.inserted]
    assert len(inserted) == len(set(inserted))
    scheduled = [name for result in results for name in result.schedules.inserted]
    assert sorted(scheduled) == sorted(f"s{one}" for one in range(ROUNDS + 4))
    enabled = queue.sql("SELECT count(*) FROM job_definitions WHERE catalog_scope = 'shop' AND is_enabled")
    assert enabled == [(TYPES,)]


def test_old_and_new_versions_that_sync_exactly_in_turn_do_not_deadlock(queue: JobQueue) -> None:
    together = Barrier(2)
    versions = [declaration(["b", "c"], names=["b", "c"]), declaration(["a", "b"], names=["a", "b"])]

    def start(version: CatalogDeclaration) -> None:
        with Database(queue.url).own_sync_connection() as connection:
            for _ in range(30):
                together.wait()
                connection.run(catalogs.sync_catalog(version, mode=EXACT))

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(start, version) for version in versions]:
            future.result()

    active = [one.name for one in queue.run(schedules.list_schedules(scope=ADMIN)) if one.is_active]
    assert active in (["a", "b"], ["b", "c"])


def test_what_is_new_declared_and_absent_is_locked_in_one_order(
    queue: JobQueue, first: Session, second: Session
) -> None:
    """Decision 0086: a sync that waits at one type holds those before it, and none of those after it."""
    queue.run(catalogs.sync_catalog(declaration(["b", "m", "y", "z"])))
    first.run(jobs.update_job_definition("m", max_attempts=4))

    waiting = second.begin(catalogs.sync_catalog(declaration(["a", "m", "z"]), mode=EXACT), queue)
    free = queue.sql("SELECT job_type FROM job_definitions ORDER BY job_type FOR NO KEY UPDATE SKIP LOCKED")
    queue.sql("SET lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        queue.sql("INSERT INTO job_definitions (job_type) VALUES ('a') ON CONFLICT DO NOTHING")
    first.commit()

    assert free == [(JOB_TYPE,), ("y",), ("z",)]
    assert (waiting.result().inserted, waiting.result().disabled) == (("a",), ("b", "y"))
    second.commit()


def test_the_second_of_two_finds_what_the_first_has_done(queue: JobQueue, first: Session, second: Session) -> None:
    declared = declaration(["a", "b"], names=[NAME])
    made = first.run(catalogs.sync_catalog(declared))

    waiting = second.begin(catalogs.sync_catalog(declared), queue)
    first.commit()

    assert (made.inserted, made.schedules.inserted) == (("a", "b"), (NAME,))
    assert not waiting.result().has_changes
    second.commit()


def test_two_catalogs_that_want_the_same_new_type_do_not_both_get_it(
    queue: JobQueue, first: Session, second: Session
) -> None:
    first.run(catalogs.sync_catalog(declaration(["a"])))

    waiting = second.begin(catalogs.sync_catalog(declaration(["a"], scope="crm")), queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job_definition.owner_mismatch"):
        waiting.result()


def test_a_type_is_not_disabled_behind_the_back_of_a_new_schedule(
    queue: JobQueue, first: Session, second: Session
) -> None:
    queue.run(catalogs.sync_catalog(declaration(["old", "new"])))
    first.run(schedules.upsert_schedule(request(job_type="old"), scope=ADMIN))

    waiting = second.begin(catalogs.sync_catalog(declaration(["new"]), mode=EXACT), queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job_definition.active_schedule_exists"):
        waiting.result()


def test_jobs_are_enqueued_while_a_sync_is_open(queue: JobQueue, first: Session, second: Session) -> None:
    """The lock of a sync goes with that of the foreign key."""
    first.run(catalogs.sync_catalog(declaration([JOB_TYPE, "new"], max_attempts=5)))

    done = second.start(jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)), queue)

    job_id = done.result(timeout=10)
    second.commit()
    first.commit()
    assert queue.job(job_id).max_attempts == 3


def test_a_wait_for_an_open_transaction_ends(queue: JobQueue, first: Session) -> None:
    first.run(jobs.update_job_definition(JOB_TYPE, max_attempts=4))

    with pytest.raises(QueryError) as caught:
        queue.run(catalogs.sync_catalog(declaration(["a", JOB_TYPE]), lock_timeout=SHORT))

    assert caught.value.code == "job_definition.lock_timeout"
    assert queue.run(jobs.get_job_definition("a")) is None
