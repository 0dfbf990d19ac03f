"""A job queue in a database of its own, with the shortest way from a test to an operation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from runledger.core import (
    Admin,
    ClaimedJob,
    EnqueueRequest,
    JobAttempt,
    JobClaimOrigin,
    JobDeadLetter,
    JobDefinition,
    JobEvent,
    JobRecord,
    JsonValue,
)
from runledger.postgres import DEFAULT_SCHEMA, Database, Operation, jobs

T = TypeVar("T")

JOB_TYPE = "email.send"
WORKER = "worker-1"
MINUTE = timedelta(minutes=1)


class JobQueue:
    """Runs operations on one connection of Runledger's, and plain SQL on another.

    Attributes:
        url: Where the database is.
    """

    def __init__(self, url: str, *, schema: str = DEFAULT_SCHEMA) -> None:
        self.url = url
        self._own = Database(url, schema=schema).own_sync_connection()
        self._plain = psycopg.connect(url, autocommit=True)
        self._plain.execute("SELECT set_config('search_path', quote_ident(%s), false)", [schema])

    def close(self) -> None:
        self._own.close()
        self._plain.close()

    def run(self, operation: Operation[T]) -> T:
        return self._own.run(operation)

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement in autocommit, with the schema on the search path; return the rows, if it has any."""
        cursor = self._plain.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description is not None else []

    def clock(self) -> datetime:
        """Return the time of the database."""
        return self.sql("SELECT clock_timestamp()")[0][0]

    def define(
        self,
        job_type: str = JOB_TYPE,
        *,
        max_attempts: int = 3,
        default_timeout: timedelta = timedelta(seconds=30),
        default_priority: int = 100,
        is_enabled: bool = True,
    ) -> None:
        definition = JobDefinition(
            job_type=job_type,
            max_attempts=max_attempts,
            default_timeout=default_timeout,
            default_priority=default_priority,
            is_enabled=is_enabled,
        )
        self.run(jobs.upsert_job_definitions([definition]))

    def enqueue(
        self,
        payload: JsonValue = None,
        *,
        job_type: str = JOB_TYPE,
        organization_id: UUID | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        run_at: datetime | None = None,
        run_in: timedelta | None = None,
        stage: str = "queued",
        now: datetime | None = None,
    ) -> UUID:
        request = EnqueueRequest(
            job_type,
            payload,
            organization_id=organization_id,
            priority=priority,
            max_attempts=max_attempts,
            run_at=run_at,
            run_in=run_in,
            stage=stage,
        )
        return self.run(jobs.enqueue_job(request, now=now))

    def claim(
        self,
        worker_id: str = WORKER,
        *,
        limit: int = 100,
        lease_ttl: timedelta = MINUTE,
        job_types: Sequence[str] | None = None,
        claim_origin: JobClaimOrigin = JobClaimOrigin.DIRECT,
        is_start: bool = False,
        now: datetime | None = None,
    ) -> list[ClaimedJob]:
        return self.run(
            jobs.claim_jobs(
                worker_id,
                lease_ttl=lease_ttl,
                limit=limit,
                job_types=job_types,
                claim_origin=claim_origin,
                is_start=is_start,
                now=now,
            )
        )

    def claim_one(self, worker_id: str = WORKER, *, is_start: bool = False, now: datetime | None = None) -> ClaimedJob:
        (claimed,) = self.claim(worker_id, is_start=is_start, now=now)
        return claimed

    def enqueue_and_claim(self, payload: JsonValue = None, *, max_attempts: int | None = None) -> ClaimedJob:
        """Return a freshly claimed job; the queue must hold no other due one."""
        self.enqueue(payload, max_attempts=max_attempts)
        return self.claim_one()

    def job(self, job_id: UUID) -> JobRecord:
        record = self.run(jobs.get_job(job_id, scope=Admin()))
        assert record is not None
        return record

    def events(self, job_id: UUID) -> list[JobEvent]:
        return self.run(jobs.list_job_events(job_id, scope=Admin()))

    def event_types(self, job_id: UUID) -> list[str]:
        return [event.event_type.value for event in self.events(job_id)]

    def attempts(self, job_id: UUID) -> list[JobAttempt]:
        return self.run(jobs.list_job_attempts(job_id, scope=Admin()))

    def dead_letter(self, job_id: UUID) -> JobDeadLetter | None:
        return self.run(jobs.get_dead_letter(job_id, scope=Admin()))

    def refuse(
        self, table: str, condition: str, *, action: str = "INSERT", message: str = "refused by the test"
    ) -> None:
        """Make every later write of such a row fail; ``condition`` is about ``NEW``."""
        self.sql(f"""
            CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS
            $function$ BEGIN RAISE EXCEPTION '{message}'; END $function$""")
        self.sql(f"""
            CREATE TRIGGER refuse BEFORE {action} ON {table}
            FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_{table}()""")
