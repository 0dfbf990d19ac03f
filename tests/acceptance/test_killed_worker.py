"""A worker that is killed in the middle of its work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from runledger import EnqueueRequest, JobDefinition, Ledger
from runledger.testing import EphemeralDatabase
from tests.observer import Observer
from tests.worker_process import WorkerProcess, worker_process

JOBS = 300
VICTIM = "victim"

# What the application writes: an execution each time, an effect once.
TABLES = """
CREATE TABLE execution (job_id uuid, attempt integer, worker_id text);
CREATE TABLE effect (job_id uuid, effect text, PRIMARY KEY (job_id, effect))
"""


@pytest.fixture
async def observer(runledger_database: EphemeralDatabase) -> AsyncGenerator[Observer]:
    observer = await Observer.connect(runledger_database.url)
    yield observer
    await observer.close()


def start(url: str, worker_id: str, **settings: Any) -> contextlib.AbstractAsyncContextManager[WorkerProcess]:
    """Start a worker whose leases end soon, and which reaps soon."""
    return worker_process(
        url=url,
        config={"worker_id": worker_id, "max_global_concurrency": 8},
        durations={"lease_ttl": 2, "poll_interval": 0.05, "reaper_interval": 0.1, "reaper_retry_delay": 0},
        **settings,
    )


async def test_jobs_of_a_killed_worker_are_done_by_others(
    runledger_database: EphemeralDatabase, observer: Observer
) -> None:
    """Every job succeeds once, every effect is there once, and every repetition has its explanation in the ledger."""
    url = runledger_database.url
    await observer.execute(TABLES)
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type="count", max_attempts=3)])
        ids = set(await ledger.enqueue_many(EnqueueRequest("count", number) for number in range(JOBS)))

    async with start(url, VICTIM, hangs_after=20) as victim, contextlib.AsyncExitStack() as others:
        await observer.until(
            "(SELECT count(*) = 8 FROM runledger.job_queue WHERE worker_id = 'victim')"
            " AND (SELECT count(*) = 28 FROM execution)"
        )
        for number in range(2):
            await others.enter_async_context(start(url, f"other-{number}"))
        await observer.until("(SELECT count(*) > 60 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
        victim.signal(signal.SIGKILL)
        assert await victim.until_ended() == -signal.SIGKILL
        await observer.until("(SELECT bool_and(status = 'SUCCEEDED') FROM runledger.job_queue)")

    assert set(await observer.column("SELECT id FROM runledger.job_queue WHERE status = 'SUCCEEDED'")) == ids
    succeeded = "SELECT count(*), count(DISTINCT job_id) FROM runledger.job_events WHERE event_type = 'SUCCEEDED'"
    assert await observer.row(succeeded) == (JOBS, JOBS)
    assert await observer.row("SELECT count(*), count(DISTINCT job_id) FROM effect") == (JOBS, JOBS)
    # Every attempt but the last of a job ended with its lease; those that the killed worker held are among them.
    attempts = "SELECT count(*) FILTER (WHERE outcome IS NULL), count(*) FROM runledger.job_attempts"
    succeeded_count, attempt_count = await observer.row(attempts)
    assert succeeded_count == JOBS
    expired = (
        "SELECT count(*), count(*) FILTER (WHERE worker_id = 'victim' AND attempt = 1) FROM runledger.job_attempts"
        " WHERE outcome = 'LEASE_EXPIRED' AND error_code = 'job.lease_expired' AND finished_at IS NOT NULL"
    )
    assert await observer.row(expired) == (attempt_count - JOBS, 8)
    unexplained = (
        "SELECT count(*) FROM execution AS e"
        " LEFT JOIN runledger.job_attempts AS a USING (job_id, attempt, worker_id) WHERE a.job_id IS NULL"
    )
    assert await observer.value(unexplained) == 0


async def test_a_worker_that_stands_still_loses_its_jobs_and_cannot_finish_them(
    runledger_database: EphemeralDatabase, observer: Observer
) -> None:
    """It wakes up after its leases ended, as after a pause of its machine, and writes nothing over the others' work."""
    url = runledger_database.url
    await observer.execute(TABLES)
    await observer.execute("SELECT pg_advisory_lock(1)")
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type="hold", max_attempts=3)])
        await ledger.enqueue_many(EnqueueRequest("hold", number) for number in range(4))

    async with start(url, VICTIM) as victim:
        await observer.until_blocked(sessions=4)
        victim.signal(signal.SIGSTOP)
        await observer.execute("SELECT pg_advisory_unlock(1)")
        async with start(url, "other"):
            await observer.until("(SELECT bool_and(status = 'SUCCEEDED') FROM runledger.job_queue)")
            victim.signal(signal.SIGCONT)
            await victim.until_said("worker.outcome_not_written")
            victim.signal(signal.SIGTERM)
            assert await victim.until_ended() == 0

    outcomes = (
        "SELECT worker_id, attempt, outcome::text, count(*) FROM runledger.job_attempts GROUP BY 1, 2, 3 ORDER BY 1"
    )
    assert await observer.rows(outcomes) == [("other", 2, None, 4), (VICTIM, 1, "LEASE_EXPIRED", 4)]
    assert await observer.value("SELECT count(*) FROM runledger.job_events WHERE event_type = 'SUCCEEDED'") == 4


async def test_two_workers_share_a_queue_without_touching_a_job_twice(
    runledger_database: EphemeralDatabase, observer: Observer
) -> None:
    url = runledger_database.url
    await observer.execute(TABLES)
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type="count")])
        await ledger.enqueue_many(EnqueueRequest("count", number) for number in range(JOBS))

    async with start(url, "one") as one, start(url, "two") as two:
        await observer.until("(SELECT bool_and(status = 'SUCCEEDED') FROM runledger.job_queue)")
        for worker in (one, two):
            worker.signal(signal.SIGTERM)
        assert await asyncio.gather(one.until_ended(), two.until_ended()) == [0, 0]

    assert await observer.row("SELECT count(*), count(DISTINCT job_id) FROM execution") == (JOBS, JOBS)
    assert await observer.value("SELECT count(*) FROM runledger.job_attempts") == JOBS
