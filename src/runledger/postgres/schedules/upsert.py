"""Upsert: an operator says what a schedule is."""

from __future__ import annotations

from datetime import datetime

from runledger.core.errors import InvalidArgumentError
from runledger.core.schedules.schedule import ScheduleOwner, ScheduleRecord, ScheduleRequest
from runledger.core.scope import Scope
from runledger.postgres.document import check_now
from runledger.postgres.operation import Steps, operation
from runledger.postgres.schedules.reads import read_schedule
from runledger.postgres.schedules.writing import Writer, write_schedules

_NAME = "schedules.upsert_schedule"


@operation(_NAME)
def upsert_schedule(request: ScheduleRequest, *, scope: Scope, now: datetime | None = None) -> Steps[ScheduleRecord]:
    """Insert a schedule, or change the one that has the name, and return it as it is stored.

    A schedule that exists keeps its organization and whether it is active. When it is due next changes only with its
    expression or its time zone.

    Args:
        request: The schedule as it is to be.
        scope: Whose schedules may be made and changed.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        InvalidArgumentError: ``job_schedule.invalid_timezone``: the zone is not known here. ``argument.invalid``: the
            schedule is new, and its organization outside the scope. Nothing was written.
        InvalidCronError: The expression fires no more.
        QueryError: Nothing was written: ``job_schedule.definition_not_found_or_disabled``; ``job_schedule.name_taken``
            by a schedule outside the scope; ``job_schedule.owner_mismatch``: the schedule belongs to a catalog;
            ``job_schedule.concurrent_change``.
    """
    if not isinstance(request, ScheduleRequest):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("request", f"is of type {type(request).__name__}", "pass a ScheduleRequest")
    check_now(now)
    writer = Writer(operation_name=_NAME, scope=scope, owner=ScheduleOwner.OPERATOR)
    yield from write_schedules([request], writer=writer, now=now)
    schedule = yield from read_schedule(request.name, scope=scope)
    assert schedule is not None  # noqa: S101 (written in this scope, and its row is locked)
    return schedule
