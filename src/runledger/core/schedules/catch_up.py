"""What a schedule makes of its due times, also of those that passed while no scheduler ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import chain, islice, takewhile
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.setting_checks import check_int32
from runledger.core.schedules.cron_expression import CronExpression
from runledger.core.schedules.jitter import fire_jitter
from runledger.core.schedules.next_fire import fires_ahead, fires_back, next_fire
from runledger.core.stored_text import StoredTextEnum

_NO_GRACE = timedelta()
_RESOLUTION = timedelta.resolution


class CatchUp(StoredTextEnum):
    """Which due times fire when several have passed, or one has long passed."""

    LATEST = "latest"
    """The latest, once, however late it is. The earlier ones are left out."""

    SKIP = "skip"
    """The latest if it is still on time, else none: what was missed is not made up for."""

    ALL = "all"
    """All, up to a bound. Of more, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirePlan:
    """What a schedule does now and next; made by :func:`plan_fires`.

    Attributes:
        due: The due times that fire now, in ascending order.
        leaves_out: Whether other due times have passed and do not fire.
        next_fire_at: When the schedule is due next, or ``None`` if it never is again.
    """

    due: tuple[datetime, ...]
    leaves_out: bool
    next_fire_at: datetime | None


def plan_fires(
    expression: CronExpression,
    *,
    zone: tzinfo,
    schedule_id: UUID,
    max_jitter_seconds: int,
    next_fire_at: datetime,
    now: datetime,
    catch_up: CatchUp,
    catch_up_limit: int,
    grace: timedelta,
    set_at: datetime | None = None,
) -> FirePlan:
    """Decide which due times of a schedule fire now, and when it is due next.

    Due times are ``next_fire_at`` as it is stored and, for each later cron time, that time plus its jitter. None is
    passed over: one whose cron time has come and whose jitter still lies ahead is the next.

    A ``next_fire_at`` that somebody has set by hand fires in any case, once. The catch-up is for the cron times after
    it that are due after the instant at which it was set: what was due before had its turn already.

    Args:
        expression: What :func:`runledger.core.parse_cron` made of the schedule's expression.
        zone: The zone whose local time the expression means.
        schedule_id: The schedule, of which the jitter is made.
        max_jitter_seconds: The longest jitter, zero or more.
        next_fire_at: When the schedule is due, as stored. What was due before has fired.
        now: The instant to decide for.
        catch_up: Which due times fire when several have passed.
        catch_up_limit: How many fire at most for :attr:`CatchUp.ALL`; one or more.
        grace: How late a due time is still on time, for :attr:`CatchUp.SKIP`: longer than a scheduler takes from
            one pass to the next.
        set_at: When somebody has set ``next_fire_at`` by hand; ``None`` when the expression did.

    Raises:
        InvalidArgumentError: An instant has no time zone, ``catch_up_limit`` is below one, or ``grace`` is negative.
    """
    check_int32("catch_up_limit", catch_up_limit, minimum=1)
    if grace < _NO_GRACE:
        raise InvalidArgumentError("grace", "is negative", "pass zero or more")
    if next_fire_at > now:
        return FirePlan(due=(), leaves_out=False, next_fire_at=next_fire_at)
    schedule = _Schedule(
        expression=expression, zone=zone, schedule_id=schedule_id, max_jitter_seconds=max_jitter_seconds
    )
    limit = catch_up_limit if catch_up is CatchUp.ALL else 1
    if set_at is None:
        due_times = chain(schedule.due_times_back(now, next_fire_at), [next_fire_at])
    else:
        since = max(next_fire_at, set_at - schedule.longest_jitter)
        due_times = (due_at for due_at in schedule.due_times_back(now, since) if due_at > set_at)
    # One more than can fire tells whether there are more; counting them all may take for ever.
    passed = sorted(islice(due_times, limit + 1))
    due = passed[-limit:]
    if catch_up is CatchUp.SKIP and due and due[0] < now - grace:
        due = []
    return FirePlan(
        due=tuple(due) if set_at is None else (next_fire_at, *due),
        leaves_out=len(due) < len(passed),
        next_fire_at=schedule.due_after(now, next_fire_at),
    )


def first_fire_at(
    expression: CronExpression, *, zone: tzinfo, schedule_id: UUID, max_jitter_seconds: int, after: datetime
) -> datetime | None:
    """Return when a schedule is due first: its first cron time after an instant, plus jitter.

    Args:
        expression: What :func:`runledger.core.parse_cron` made of the schedule's expression.
        zone: The zone whose local time the expression means.
        schedule_id: The schedule, of which the jitter is made.
        max_jitter_seconds: The longest jitter, zero or more.
        after: The instant at which the schedule or its expression is new.

    Returns:
        An instant in UTC, or ``None`` if the expression fires no more.

    Raises:
        InvalidArgumentError: ``after`` has no time zone.
    """
    schedule = _Schedule(
        expression=expression, zone=zone, schedule_id=schedule_id, max_jitter_seconds=max_jitter_seconds
    )
    cron_time = next_fire(expression, after=after, zone=zone)
    return None if cron_time is None else schedule.due_at(cron_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    expression: CronExpression
    zone: tzinfo
    schedule_id: UUID
    max_jitter_seconds: int

    def due_at(self, cron_time: datetime) -> datetime:
        return cron_time + fire_jitter(self.schedule_id, cron_time, max_jitter_seconds=self.max_jitter_seconds)

    @property
    def longest_jitter(self) -> timedelta:
        return timedelta(seconds=self.max_jitter_seconds)

    def due_times_back(self, now: datetime, since: datetime) -> Iterator[datetime]:
        """Yield what is due by now, from the latest cron time back to the first one after an instant."""
        cron_times = fires_back(self.expression, before=now + _RESOLUTION, zone=self.zone)
        for cron_time in takewhile(lambda cron_time: cron_time > since, cron_times):
            due_at = self.due_at(cron_time)
            if due_at <= now:
                yield due_at

    def due_after(self, now: datetime, stored: datetime) -> datetime | None:
        # A cron time so long ago that its jitter is over in any case need not be looked at.
        cron_times = fires_ahead(self.expression, after=max(stored, now - self.longest_jitter), zone=self.zone)
        return next((due_at for due_at in map(self.due_at, cron_times) if due_at > now), None)
