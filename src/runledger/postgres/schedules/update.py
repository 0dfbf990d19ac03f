"""Update: an operator changes some settings of a schedule, and the others stay."""

from __future__ import annotations

from datetime import datetime

from runledger.core.database_text import check_text
from runledger.core.errors import InvalidArgumentError
from runledger.core.json_value import encode_json
from runledger.core.schedules.catch_up import first_fire_at
from runledger.core.schedules.cron_expression import parse_cron
from runledger.core.schedules.schedule import Kept, ScheduleChanges, ScheduleOwner, ScheduleRecord
from runledger.core.scope import Scope
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.schedules.reads import read_schedule
from runledger.postgres.schedules.refusals import definition_missing, fires_no_more
from runledger.postgres.schedules.time_zone import time_zone
from runledger.postgres.schedules.writing import Writer, check_owner, lock_definitions, lock_schedules
from runledger.postgres.sql_files import SqlFile

_UPDATE = SqlFile("schedules", "update_schedule")

_NAME = "schedules.update_schedule"


@operation(_NAME)
def update_schedule(
    name: str, changes: ScheduleChanges, *, scope: Scope, now: datetime | None = None
) -> Steps[ScheduleRecord | None]:
    """Change settings of a schedule and return it, or ``None`` when there is none in the scope.

    When it is due next changes only with its expression or its time zone.

    Args:
        name: The schedule.
        changes: The settings to change.
        scope: Whose schedules may be changed.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        InvalidArgumentError: ``job_schedule.invalid_timezone``: the zone is not known here.
        InvalidCronError: The expression fires no more.
        QueryError: Nothing was written: ``job_schedule.definition_not_found_or_disabled``: of another job type that is
            given; ``job_schedule.owner_mismatch``: the schedule belongs to a catalog.
    """
    if not isinstance(changes, ScheduleChanges):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("changes", f"is of type {type(changes).__name__}", "pass ScheduleChanges")
    check_text("name", name)
    check_now(now)
    job_type = changes.job_type
    enabled = {} if job_type is None else (yield from lock_definitions({job_type}))
    (row,) = yield from lock_schedules([name], scope=scope, now=now)
    if not row["is_visible"]:
        return None
    check_owner(row, Writer(operation_name=_NAME, scope=scope, owner=ScheduleOwner.OPERATOR))
    if job_type is not None and (job_type not in enabled or (row["is_active"] and not enabled[job_type])):
        raise definition_missing(_NAME, [job_type])
    yield Statement(sql=_UPDATE, document=_document(row, changes))
    return (yield from read_schedule(name, scope=scope))


def _document(row: Row, changes: ScheduleChanges) -> str:
    document = encode_document(
        schedule_id=row["schedule_id"],
        job_type=changes.job_type,
        cron_expr=changes.cron_expr,
        timezone=changes.timezone,
        next_fire_at=_next_fire_at(row, changes),
        max_jitter_seconds=changes.max_jitter_seconds,
        catch_up=changes.catch_up,
        catch_up_limit=changes.catch_up_limit,
        overlap=changes.overlap,
    )
    if changes.payload_template is Kept.KEPT:
        return document
    payload_template = encode_json(changes.payload_template, field="payload_template")
    return f'{document[:-1]},"payload_template":{payload_template}}}'


def _next_fire_at(row: Row, changes: ScheduleChanges) -> datetime | None:
    """Return when it is due next, or ``None`` where the stored time holds."""
    cron_expr: str = changes.cron_expr or row["cron_expr"]
    timezone: str = changes.timezone or row["timezone"]
    if (cron_expr, timezone) == (row["cron_expr"], row["timezone"]):
        return None
    max_jitter_seconds = changes.max_jitter_seconds
    fire_at = first_fire_at(
        parse_cron(cron_expr),
        zone=time_zone(timezone),
        schedule_id=row["schedule_id"],
        max_jitter_seconds=row["max_jitter_seconds"] if max_jitter_seconds is None else max_jitter_seconds,
        after=row["at"],
    )
    if fire_at is None:
        raise fires_no_more()
    return fire_at
