"""An application as the tests of the runtime see it: handlers, a migrated database, and workers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from runledger.client import Ledger
from runledger.core import Admin, EnqueueRequest, JobAttempt, JobDeadLetter, JobEventType, JobRecord
from runledger.postgres import Database, jobs
from runledger.runtime import JobRegistry, JobsConfig, ObserverFeed, Worker
from tests.observer import Observer
from tests.runtime.gate import Gate

_MINUTE = timedelta(minutes=1)


def quiet_config(**overrides: Any) -> JobsConfig:
    """Return settings under which nothing happens by itself within a test."""
    quiet: dict[str, Any] = {
        "poll_interval": timedelta(hours=1),
        "reaper_interval": timedelta(hours=1),
        "reaper_retry_delay": timedelta(),
        "shutdown_timeout": timedelta(seconds=20),
    }
    return JobsConfig(**quiet | overrides)


@dataclass(frozen=True, kw_only=True)
class App:
    """What an application has.

    Attributes:
        url: Where its database is.
        database: The same, for workers.
        ledger: Its way to them.
        observer: A connection beside it.
        registry: Its handlers; a test adds them.
    """

    url: str
    database: Database
    ledger: Ledger
    observer: Observer
    registry: JobRegistry = field(default_factory=JobRegistry)

    @contextlib.asynccontextmanager
    async def worker(self, *, database: Database | None = None, **settings: Any) -> AsyncGenerator[Worker]:
        """A worker that claims when it is told to; its handlers are canceled at the end."""
        worker = self.new_worker(database=database, **settings)
        await worker.open()
        try:
            yield worker
        finally:
            await worker.stop(handler_timeout=timedelta())

    def new_worker(
        self, *, database: Database | None = None, observers: ObserverFeed | None = None, **settings: Any
    ) -> Worker:
        """A worker that was not opened."""
        return Worker(database or self.database, self.registry, quiet_config(**settings), observers=observers)

    def config(self, **settings: Any) -> JobsConfig:
        """Settings for a worker that a test makes itself."""
        return quiet_config(**settings)

    async def enqueue(self, job_type: str, payload: Any = None, **settings: Any) -> UUID:
        """Enqueue a job of a registered type."""
        await self.ledger.ensure_job_definitions(self.registry.definitions())
        return await self.ledger.enqueue(job_type, payload, **settings)

    async def enqueue_many(self, job_type: str, count: int) -> list[UUID]:
        """Enqueue jobs whose payloads are their numbers, from 0."""
        await self.ledger.ensure_job_definitions(self.registry.definitions())
        return await self.ledger.enqueue_many(EnqueueRequest(job_type, number) for number in range(count))

    async def run(self, job_type: str, payload: Any = None, **settings: Any) -> JobRecord:
        """Enqueue a job, let a worker carry out one attempt, and return what is stored then."""
        job_id = await self.enqueue(job_type, payload, **settings)
        async with self.worker() as worker:
            assert await worker.run_once() == 1
            await worker.finish_running()
        return await self.job(job_id)

    async def cancel_while_it_runs(self, job_id: UUID, gate: Gate) -> JobRecord:
        """Let a worker claim the jobs, cancel one whose handler waits at the gate, and let it go on to its end.

        Returns:
            The job as the cancel left it. No notification tells the worker.
        """
        async with self.worker() as worker:
            await worker.run_once()
            await gate.until_running(1)
            canceled = await self.ledger.cancel_job(job_id)
            gate.open()
            await worker.finish_running()
        return canceled

    async def expire_claim(self) -> None:
        """Let a worker claim all pending jobs, die, and be dead for long enough that its leases are over."""
        async with self.database.own_connection() as connection:
            await connection.run(jobs.claim_jobs("dead worker", lease_ttl=_MINUTE, limit=10_000, is_start=True))
        await self.observer.execute(
            "UPDATE runledger.job_queue SET lease_expires_at = now() - interval '1 s' WHERE worker_id = 'dead worker'"
        )

    async def job(self, job_id: UUID) -> JobRecord:
        job = await self.ledger.get_job(job_id, scope=Admin())
        assert job is not None
        return job

    async def attempts(self, job_id: UUID) -> list[JobAttempt]:
        return await self.ledger.list_job_attempts(job_id, scope=Admin())

    async def events(self, job_id: UUID) -> list[JobEventType]:
        return [event.event_type for event in await self.ledger.list_job_events(job_id, scope=Admin())]

    async def dead_letter(self, job_id: UUID) -> JobDeadLetter | None:
        return await self.ledger.get_dead_letter(job_id, scope=Admin())

    async def count(self, status: str) -> int:
        """How many jobs have a status."""
        return await self.observer.value("SELECT count(*) FROM runledger.job_queue WHERE status = %s", status)
