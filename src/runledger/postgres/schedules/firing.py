"""Fire: from due schedules to jobs, each due time once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.core.schedules.catch_up import CatchUp, plan_fires
from runledger.core.schedules.cron_expression import parse_cron
from runledger.core.schedules.schedule import Overlap
from runledger.postgres.document import MAX_BATCH_ROWS, check_duration, check_limit, check_now, encode_document
from runledger.postgres.operation import Row, Rows, Statement, Steps, operation
from runledger.postgres.schedules.time_zone import time_zone
from runledger.postgres.sql_errors import QueryError
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.uuid7 import uuid7

_CLAIM_DUE = SqlFile("schedules", "claim_due_schedules")
_LIST_UNENDED = SqlFile("schedules", "list_unended_jobs")
_FIRE = SqlFile("schedules", "fire_schedules")
_DEFER = SqlFile("schedules", "defer_schedules")
_READ_NEXT_FIRE = SqlFile("schedules", "read_next_fire")

DEFERRAL = timedelta(seconds=30)
"""When a schedule that could not fire is tried again."""

_NO_DEFINITION = "job_schedule.definition_not_found_or_disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FiredSchedule:
    """A schedule whose due time was dealt with.

    Attributes:
        schedule_id: The schedule.
        name: The name of the schedule.
        job_ids: The jobs that it made, in the order of their due times; none when its due times were left out.
        left_out: Why due times did not fire: ``"overlap"``, since its last job has not ended, or ``"catch_up"``, since
            they had passed; ``None`` when all fired.
        ends: Whether it is never due again, and was paused.
        was_deferred: Whether it could not fire before.
    """

    schedule_id: UUID
    name: str
    job_ids: tuple[UUID, ...]
    left_out: str | None
    ends: bool
    was_deferred: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredSchedule:
    """A schedule that could not fire and is tried again in 30 seconds.

    Attributes:
        schedule_id: The schedule.
        name: The name of the schedule.
        code: The code of the reason.
        was_deferred: Whether the same had happened to it before.
    """

    schedule_id: UUID
    name: str
    code: str
    was_deferred: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FireResult:
    """What one transaction of a scheduler did.

    Attributes:
        fired: The schedules whose due times were dealt with.
        deferred: The schedules that could not fire.
        stuck_schedule_ids: Those that could not even be put off; the next pass finds them again.
        is_full: Whether the transaction took as many schedules or due times as it may, so that there may be more.
        notices: What workers are to be told after the commit, see :func:`send_notices`.
    """

    fired: tuple[FiredSchedule, ...]
    deferred: tuple[DeferredSchedule, ...]
    stuck_schedule_ids: tuple[UUID, ...]
    is_full: bool
    notices: tuple[str, ...]

    @property
    def job_count(self) -> int:
        """Jobs that were made."""
        return sum(len(schedule.job_ids) for schedule in self.fired)


@operation("schedules.fire_due_schedules")
def fire_due_schedules(*, limit: int, grace: timedelta, now: datetime | None = None) -> Steps[FireResult]:
    """Make the jobs of schedules that are due, and set when they are due next.

    One transaction. What cannot fire is set apart by halving the batch and tried again in 30 seconds, so that it
    starves no other. Schedules that another scheduler has locked are skipped.

    Args:
        limit: Schedules at most. With 1,000 due times no more schedules are begun: what is made up for may be much.
        grace: How late a due time is still on time, for :attr:`CatchUp.SKIP`.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_limit(limit)
    check_duration("grace", grace)
    check_now(now)
    rows = yield Statement(sql=_CLAIM_DUE, document=encode_document(limit=limit, now=now))
    unended = yield from _unended_jobs(rows)
    outcome = _Outcome()
    plans: list[_Plan] = []
    job_count = 0
    for row in rows:
        if job_count >= MAX_BATCH_ROWS:
            break  # the rest is found again when the locks of this transaction are gone
        try:
            plan = _plan(row, grace, unended)
        except RunledgerError as error:
            outcome.defer(row, error.code)
        else:
            plans.append(plan)
            job_count += len(plan.jobs)
    unplannable_count = len(outcome.deferred)
    pending = list(_groups(plans))
    while pending:
        group = pending.pop()
        try:
            fired = yield Statement(sql=_FIRE, document=_fire_document(group), is_guarded=True)
        except QueryError as error:
            middle = len(group) // 2
            if middle:
                pending += [group[middle:], group[:middle]]
            else:
                outcome.defer(group[0].row, error.code)
        else:
            outcome.note(group, fired)
    yield from _defer(outcome)
    return FireResult(
        fired=tuple(outcome.fired),
        deferred=tuple(outcome.deferred),
        stuck_schedule_ids=tuple(outcome.stuck),
        is_full=len(rows) == limit or len(plans) + unplannable_count < len(rows),
        notices=tuple(outcome.notices),
    )


@operation("schedules.read_next_fire")
def read_next_fire(*, now: datetime | None = None) -> Steps[timedelta | None]:
    """Return how long it is until the next schedule is due, by the database's clock; ``None`` when none is active.

    Zero or less when one is due.

    Args:
        now: Instant to use instead of the database's clock, for tests.
    """
    check_now(now)
    rows = yield Statement(sql=_READ_NEXT_FIRE, document=encode_document(now=now), is_only=True)
    return timedelta(milliseconds=rows[0]["due_in_ms"]) if rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one schedule is to do.

    Attributes:
        row: The schedule, as it was claimed.
        jobs: Ids of the jobs to make, and the due times that they are for.
        next_fire_at: When it is due next; ``None``: never.
        left_out: As in :class:`FiredSchedule`.
    """

    row: Row
    jobs: list[tuple[UUID, datetime]]
    next_fire_at: datetime | None
    left_out: str | None


@dataclass(slots=True)
class _Outcome:
    fired: list[FiredSchedule] = field(default_factory=list[FiredSchedule])
    deferred: list[DeferredSchedule] = field(default_factory=list[DeferredSchedule])
    stuck: list[UUID] = field(default_factory=list[UUID])
    notices: list[str] = field(default_factory=list[str])
    retry_at: datetime | None = None

    def defer(self, row: Row, code: str) -> None:
        self.retry_at = row["at"] + DEFERRAL
        self.deferred.append(
            DeferredSchedule(
                schedule_id=row["schedule_id"], name=row["name"], code=code, was_deferred=row["was_deferred"]
            )
        )

    def note(self, group: list[_Plan], rows: Rows) -> None:
        is_fired = {row["schedule_id"]: row["is_fired"] for row in rows}
        self.notices += [row["notice"] for row in rows[:1] if row["notice"] is not None]
        for plan in group:
            schedule_id: UUID = plan.row["schedule_id"]
            if is_fired[schedule_id]:
                self.fired.append(
                    FiredSchedule(
                        schedule_id=schedule_id,
                        name=plan.row["name"],
                        job_ids=tuple(job_id for job_id, _ in plan.jobs),
                        left_out=plan.left_out,
                        ends=plan.next_fire_at is None,
                        was_deferred=plan.row["was_deferred"],
                    )
                )
            else:
                self.defer(plan.row, _NO_DEFINITION)


def _unended_jobs(rows: Rows) -> Steps[set[UUID]]:
    """Return the last jobs of the claimed schedules that have not ended, as far as a schedule minds."""
    job_ids = [str(row["last_job_id"]) for row in rows if row["overlap"] == Overlap.SKIP and row["last_job_id"]]
    if not job_ids:
        return set()
    unended = yield Statement(sql=_LIST_UNENDED, document=encode_document(job_ids=job_ids))
    return {row["job_id"] for row in unended}


def _plan(row: Row, grace: timedelta, unended: set[UUID]) -> _Plan:
    overlap = Overlap.from_stored(row["overlap"])
    catch_up = CatchUp.from_stored(row["catch_up"])
    if overlap is Overlap.SKIP and catch_up is CatchUp.ALL:
        catch_up = CatchUp.LATEST  # its jobs must not run side by side
    plan = plan_fires(
        parse_cron(row["cron_expr"]),
        zone=time_zone(row["timezone"]),
        schedule_id=row["schedule_id"],
        max_jitter_seconds=row["max_jitter_seconds"],
        next_fire_at=row["due_at"],
        now=row["at"],
        catch_up=catch_up,
        catch_up_limit=row["catch_up_limit"],
        grace=grace,
        set_at=row["next_fire_set_at"],
    )
    is_overlapping = overlap is Overlap.SKIP and row["last_job_id"] in unended
    # With a due time that was set by hand there may be two, and these must not run side by side either.
    due = plan.due[:1] if overlap is Overlap.SKIP else plan.due
    left_out = "overlap" if is_overlapping or len(due) < len(plan.due) else "catch_up" if plan.leaves_out else None
    return _Plan(
        row=row,
        jobs=[] if is_overlapping else [(uuid7(), due_at) for due_at in due],
        next_fire_at=plan.next_fire_at,
        left_out=left_out,
    )


def _groups(plans: list[_Plan]) -> Iterator[list[_Plan]]:
    """Yield groups with no more jobs than a document may hold."""
    group: list[_Plan] = []
    job_count = 0
    for plan in plans:
        if group and job_count + len(plan.jobs) > MAX_BATCH_ROWS:
            yield group
            group, job_count = [], 0
        group.append(plan)
        job_count += len(plan.jobs)
    if group:
        yield group


def _defer(outcome: _Outcome) -> Steps[None]:
    """Put off what could not fire; one by one if that fails for all of them together."""
    pending = [outcome.deferred] if outcome.deferred else []
    deferred: list[DeferredSchedule] = []
    while pending:
        group = pending.pop()
        document = encode_document(
            schedule_ids=[str(schedule.schedule_id) for schedule in group], retry_at=outcome.retry_at
        )
        try:
            yield Statement(sql=_DEFER, document=document, is_guarded=True)
        except QueryError:
            middle = len(group) // 2
            if middle:
                pending += [group[middle:], group[:middle]]
            else:
                outcome.stuck.append(group[0].schedule_id)
        else:
            deferred += group
    outcome.deferred = deferred


def _fire_document(group: list[_Plan]) -> str:
    schedules: dict[str, dict[str, str]] = {}
    jobs: list[dict[str, str]] = []
    for plan in group:
        schedule_id = str(plan.row["schedule_id"])
        members = {"ends": "true"} if plan.next_fire_at is None else {"next_fire_at": plan.next_fire_at.isoformat()}
        if plan.jobs:
            members["last_job_id"] = str(plan.jobs[-1][0])
        schedules[schedule_id] = members
        jobs += [
            {"id": str(job_id), "schedule_id": schedule_id, "scheduled_for": _rfc_3339(due_at)}
            for job_id, due_at in plan.jobs
        ]
    return json.dumps({"fired_at": group[0].row["at"].isoformat(), "schedules": schedules, "jobs": jobs})


def _rfc_3339(instant: datetime) -> str:
    """Return an instant in UTC with ``Z``, and with 0, 3 or 6 digits of a fraction, as many as it needs."""
    text = instant.astimezone(UTC).replace(tzinfo=None)
    digits = "seconds" if not text.microsecond else "microseconds" if text.microsecond % 1_000 else "milliseconds"
    return text.isoformat(timespec=digits) + "Z"
