"""Why a schedule does not fire, found out again: the database keeps that it fails, the log of its scheduler why."""

from __future__ import annotations

from runledger.client import SyncLedger
from runledger.core import InvalidArgumentError, ScheduleRecord, parse_cron
from runledger.core.printable import printable
from runledger.postgres.schedules.time_zone import time_zone

_UNKNOWN = "not known here; the log of the scheduler has the code (scheduler.schedule_deferred)"


def explain_failure(ledger: SyncLedger, schedule: ScheduleRecord) -> str:
    """Return the code and what is wrong, as far as that can be seen here, in the order in which a scheduler looks."""
    try:
        parse_cron(schedule.cron_expr)
        time_zone(schedule.timezone)
    except InvalidArgumentError as error:
        return printable(f"{error.code}: {error.field} {error.problem}")
    definition = ledger.get_job_definition(schedule.job_type)
    if definition is None or not definition.is_enabled:
        state = "has no definition" if definition is None else "is disabled"
        return printable(f"job_schedule.definition_not_found_or_disabled: job type {schedule.job_type!r} {state}")
    return _UNKNOWN
