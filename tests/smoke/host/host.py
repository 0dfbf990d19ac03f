"""A service as its own project, which knows Runledger as an installed package only.

`make smoke` runs it in an environment that has the built wheel, against an empty database. It ends with an error, or
says how long the loops took to stop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import runledger
from runledger import (
    Database,
    JobContext,
    JobDefinition,
    JobFailure,
    JobHandler,
    JobRegistry,
    JobsConfig,
    JobStatus,
    Ledger,
)
from runledger.core.jobs.handler import JobDeadLetterInfo
from runledger.runtime import run_reaper_loop, run_scheduler_loop, run_worker_loop

CONFIG = JobsConfig(
    poll_interval=timedelta(milliseconds=25),
    claim_batch_size=8,
    lease_ttl=timedelta(seconds=10),
    max_global_concurrency=8,
    reaper_interval=timedelta(milliseconds=100),
    schedule_poll_interval=timedelta(milliseconds=100),
    reaper_retry_delay=timedelta(milliseconds=1000),
    shutdown_timeout=timedelta(seconds=1),
)
STOP_SECONDS = 3.0
WAIT_SECONDS = 20.0
EXECUTIONS = 4


class Notes:
    """What the handlers did."""

    def __init__(self) -> None:
        self.executed: list[UUID] = []
        self.dead: list[UUID] = []


class Handler(JobHandler):
    """A handler that notes what it does."""

    def __init__(self, job_type: str, notes: Notes, work: Callable[[], Awaitable[None]]) -> None:
        self.job_type = job_type
        self._notes = notes
        self._work = work

    async def execute(self, context: JobContext, payload: object) -> None:
        self._notes.executed.append(context.job_id)
        await self._work()

    async def on_dead_letter(self, context: JobContext, payload: object, info: JobDeadLetterInfo) -> None:
        self._notes.dead.append(context.job_id)


async def succeed() -> None:
    """Be done."""


async def fail() -> None:
    raise JobFailure.terminal("smoke.refused", "this one is meant to fail")


async def hang() -> None:
    await asyncio.Event().wait()


def registry_of(notes: Notes) -> JobRegistry:
    registry = JobRegistry()
    for job_type, work in (("smoke.succeed", succeed), ("smoke.fail", fail), ("smoke.hang", hang)):
        registry.register(Handler(job_type, notes, work), max_attempts=1, timeout=timedelta(seconds=30))
    return registry


async def until(is_so: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for what other processes or tasks bring about."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not await is_so():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS:g} seconds for: {what}"
        await asyncio.sleep(0.02)


async def until_status(ledger: Ledger, job_id: UUID, status: JobStatus) -> None:
    async def is_so() -> bool:
        job = await ledger.get_job(job_id)
        return job is not None and job.status == status

    await until(is_so, f"job {job_id} is {status}")


async def prepare(ledger: Ledger, definitions: list[JobDefinition]) -> None:
    assert await ledger.migrate(), "the database is new"
    assert await ledger.migrate() == []
    assert await ledger.check_schema() == []
    await ledger.ensure_job_definitions(definitions)


async def force_expiry(ledger: Ledger, job_id: UUID) -> None:
    """Let the lease of a running job end in the past, as if its worker had been silent for long."""

    async def is_running() -> bool:
        job = await ledger.get_job(job_id)
        return job is not None and (job.status, job.stage) == (JobStatus.LEASED, "running")

    await until(is_running, "the hanging job runs")
    async with ledger.transaction() as connection:
        cursor = await connection.execute(
            "UPDATE runledger.job_queue SET lease_expires_at = now() - interval '1 second' WHERE id = %s", [job_id]
        )
        assert cursor.rowcount == 1


async def schedule_job(ledger: Ledger) -> UUID:
    """Make a schedule that was due five seconds ago, and return the job it makes."""
    schedule = await ledger.upsert_schedule("smoke.yearly", "smoke.succeed", "0 0 0 1 1 * *")
    await ledger.set_schedule_next_fire(schedule.name, datetime.now(UTC) - timedelta(seconds=5))

    async def has_fired() -> bool:
        found = await ledger.get_schedule(schedule.name)
        return found is not None and found.last_job_id is not None

    await until(has_fired, "the schedule fires")
    fired = await ledger.get_schedule(schedule.name)
    assert fired is not None
    assert fired.last_job_id is not None
    return fired.last_job_id


async def work_through(ledger: Ledger, notes: Notes) -> None:
    succeeding = await ledger.enqueue("smoke.succeed", {"number": 1})
    failing = await ledger.enqueue("smoke.fail", {"number": 2})
    await until_status(ledger, succeeding, JobStatus.SUCCEEDED)
    await until_status(ledger, failing, JobStatus.DEAD_LETTERED)

    await until_status(ledger, await schedule_job(ledger), JobStatus.SUCCEEDED)

    hanging = await ledger.enqueue("smoke.hang", {"number": 3})
    await force_expiry(ledger, hanging)
    await until_status(ledger, hanging, JobStatus.DEAD_LETTERED)

    async def were_told() -> bool:
        return {failing, hanging} <= set(notes.dead)

    await until(were_told, "the hooks of both dead letters were called")
    assert len(notes.dead) == len({failing, hanging})
    assert len(notes.executed) >= EXECUTIONS


async def main(database_url: str) -> None:
    notes = Notes()
    registry = registry_of(notes)
    database = Database(database_url)
    async with await Ledger.connect(database_url) as ledger:
        await prepare(ledger, registry.definitions())
        shutdown = asyncio.Event()
        async with asyncio.TaskGroup() as loops:
            loops.create_task(run_worker_loop(database, registry, CONFIG, shutdown))
            loops.create_task(run_scheduler_loop(database, CONFIG, shutdown))
            loops.create_task(run_reaper_loop(database, registry, CONFIG, shutdown))
            await work_through(ledger, notes)
            asked_at = time.monotonic()
            shutdown.set()
        seconds = time.monotonic() - asked_at
    assert seconds < STOP_SECONDS, f"the loops took {seconds:.1f} seconds to stop"
    print(f"executed {len(notes.executed)} jobs; the loops stopped in {seconds:.2f} seconds")


if __name__ == "__main__":
    assert Path(runledger.__path__[0]).is_relative_to(sys.prefix), "this is not the installed package"
    asyncio.run(main(os.environ["DATABASE_URL"]))
