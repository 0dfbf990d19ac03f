"""The shortest way from a test to a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from runledger.core import Admin, JobRecord, ScheduleRecord, ScheduleRequest, Scope
from runledger.postgres import schedules
from tests.postgres.job_queue import JOB_TYPE, JobQueue

NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EVERY_MINUTE, HOURLY, AT_THREE = "* * * * *", "0 * * * *", "0 3 * * *"
NAME = "nightly"
ADMIN = Admin()


def request(name: str = NAME, *, job_type: str = JOB_TYPE, cron_expr: str = HOURLY, **fields: Any) -> ScheduleRequest:
    return ScheduleRequest(name=name, job_type=job_type, cron_expr=cron_expr, **fields)


def upsert(
    queue: JobQueue, name: str = NAME, *, scope: Scope = ADMIN, now: datetime = NOON, **fields: Any
) -> ScheduleRecord:
    return queue.run(schedules.upsert_schedule(request(name, **fields), scope=scope, now=now))


def get(queue: JobQueue, name: str = NAME) -> ScheduleRecord:
    schedule = queue.run(schedules.get_schedule(name, scope=ADMIN))
    assert schedule is not None
    return schedule


def fire(queue: JobQueue, now: datetime, *, limit: int = 100, grace: timedelta = MINUTE) -> schedules.FireResult:
    return queue.run(schedules.fire_due_schedules(limit=limit, grace=grace, now=now))


def jobs_of(queue: JobQueue, result: schedules.FireResult) -> list[JobRecord]:
    return [queue.job(job_id) for fired in result.fired for job_id in fired.job_ids]


def scheduled_for(queue: JobQueue, result: schedules.FireResult) -> list[str]:
    """Return the due times that the jobs of a pass are for."""
    return [note(job)["scheduled_for"] for job in jobs_of(queue, result)]


def note(job: JobRecord) -> dict[str, Any]:
    """Return what a job's payload tells of its schedule."""
    assert isinstance(job.payload, dict)
    schedule = job.payload["_schedule"]
    assert isinstance(schedule, dict)
    return dict(schedule)


def finish(queue: JobQueue, job_id: UUID, *, now: datetime) -> None:
    queue.sql("UPDATE job_queue SET status = 'SUCCEEDED', finished_at = %s WHERE id = %s", now, job_id)
