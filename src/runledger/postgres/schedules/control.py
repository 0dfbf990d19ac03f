"""Control: pause a schedule, let it fire again, say when it is due next, delete it."""

from __future__ import annotations

from datetime import UTC, datetime

from runledger.core.database_text import check_text
from runledger.core.schedules.catch_up import first_fire_at
from runledger.core.schedules.cron_expression import parse_cron
from runledger.core.schedules.schedule import ScheduleRecord, check_next_fire_at
from runledger.core.scope import Scope
from runledger.postgres.document import check_now, encode_document, scope_fields
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.schedules.reads import read_schedule
from runledger.postgres.schedules.refusals import definition_missing, fires_no_more, moves_too_fast
from runledger.postgres.schedules.time_zone import time_zone
from runledger.postgres.schedules.writing import MAX_LOOKS, lock_definitions, lock_schedules
from runledger.postgres.sql_files import SqlFile

_PAUSE = SqlFile("schedules", "pause_schedule")
_ACTIVATE = SqlFile("schedules", "activate_schedule")
_SET_NEXT_FIRE = SqlFile("schedules", "set_schedule_next_fire")
_DELETE = SqlFile("schedules", "delete_schedule")

_ACTIVATE_NAME = "schedules.activate_schedule"


@operation("schedules.pause_schedule")
def pause_schedule(name: str, *, scope: Scope) -> Steps[ScheduleRecord | None]:
    """Stop a schedule from firing and return it, or ``None`` when there is none in the scope. Its jobs still run."""
    check_text("name", name)
    rows = yield Statement(sql=_PAUSE, document=encode_document(name=name, **scope_fields(scope)))
    return (yield from read_schedule(name, scope=scope)) if rows else None


@operation(_ACTIVATE_NAME)
def activate_schedule(name: str, *, scope: Scope, now: datetime | None = None) -> Steps[ScheduleRecord | None]:
    """Let a schedule fire again and return it, or ``None`` when there is none in the scope.

    What passed while it was paused does not fire: it is due at its next time. One that is active stays as it is.

    Args:
        name: The schedule.
        scope: Whose schedules may be changed.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        InvalidCronError: Its expression fires no more.
        QueryError: Nothing was written: ``job_schedule.definition_not_found_or_disabled``;
            ``job_schedule.concurrent_change``.
    """
    check_now(now)
    for _ in range(MAX_LOOKS):
        # The definition is locked before the schedule, which may become one of another type in between.
        schedule = yield from read_schedule(name, scope=scope)
        if schedule is None:
            return None
        enabled = yield from lock_definitions({schedule.job_type})
        (row,) = yield from lock_schedules([name], scope=scope, now=now)
        if row["job_type"] != schedule.job_type or not row["is_visible"]:
            continue
        if row["is_active"]:
            return (yield from read_schedule(name, scope=scope))
        if not enabled[schedule.job_type]:
            raise definition_missing(_ACTIVATE_NAME, [schedule.job_type])
        document = encode_document(schedule_id=row["schedule_id"], next_fire_at=_next_fire_after_pause(row))
        yield Statement(sql=_ACTIVATE, document=document)
        return (yield from read_schedule(name, scope=scope))
    raise moves_too_fast(_ACTIVATE_NAME)


@operation("schedules.set_schedule_next_fire")
def set_schedule_next_fire(
    name: str, next_fire_at: datetime, *, scope: Scope, now: datetime | None = None
) -> Steps[ScheduleRecord | None]:
    """Say when a schedule is due next and return it, or ``None`` when there is none in the scope.

    It fires once for that instant, whatever its expression and its catch-up say, and goes on with the times of the
    expression after that. An instant in the past is due at once; what the expression had between it and now does not
    fire for its sake. A paused schedule stays paused.

    Args:
        name: The schedule.
        next_fire_at: An instant with a time zone.
        scope: Whose schedules may be changed.
        now: Instant to use instead of the database's clock, for tests.
    """
    check_text("name", name)
    check_next_fire_at(next_fire_at)
    check_now(now)
    document = encode_document(name=name, next_fire_at=next_fire_at.astimezone(UTC), now=now, **scope_fields(scope))
    rows = yield Statement(sql=_SET_NEXT_FIRE, document=document)
    return (yield from read_schedule(name, scope=scope)) if rows else None


@operation("schedules.delete_schedule")
def delete_schedule(name: str, *, scope: Scope) -> Steps[bool]:
    """Delete a schedule, and tell whether there was one in the scope. Its jobs stay."""
    check_text("name", name)
    rows = yield Statement(sql=_DELETE, document=encode_document(name=name, **scope_fields(scope)), is_only=True)
    return bool(rows)


def _next_fire_after_pause(row: Row) -> datetime | None:
    """Return the next due time, or ``None`` where the stored one still lies ahead."""
    if row["next_fire_at"] > row["at"]:
        return None
    fire_at = first_fire_at(
        parse_cron(row["cron_expr"]),
        zone=time_zone(row["timezone"]),
        schedule_id=row["schedule_id"],
        max_jitter_seconds=row["max_jitter_seconds"],
        after=row["at"],
    )
    if fire_at is None:
        raise fires_no_more()
    return fire_at
