"""When a cron expression fires: its local times as instants of a time zone, right across changes of the clock.

The zone comes in as an object. To find it by name is to read files, and which files a host has is not for `core`
to know; the object computes.

The clock of a zone changes in two ways, and the two dialects answer differently:

- It *skips* local times: 02:30 does not exist on the day that summer time begins. An expression that follows the
  wall clock does not fire; another one fires at the moment of the change, once, however many of its times are
  skipped.
- It *repeats* local times: 02:30 comes twice on the day that summer time ends. An expression that follows the wall
  clock fires both times, another one the first time.

Vixie cron takes a change of three hours or more for a correction, not for summer time: then every expression
follows the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from runledger.core.errors import InvalidArgumentError
from runledger.core.schedules.cron_expression import CronExpression
from runledger.core.schedules.matching_times import first_match, last_match, matches_ahead, matches_back

# Local times of the outermost years of `datetime` are beyond it in some time zone.
_FIRST_YEAR = 2
_LAST_YEAR = 9998

# How far a search goes. The rarest days are the 29th of February on a given weekday, up to 40 years apart; what does
# not fire within a century, never does.
_HORIZON_YEARS = 100

_SECOND = timedelta(seconds=1)
_NO_OFFSET = timedelta()
_SHORTEST_CORRECTION = timedelta(hours=3)


def next_fire(expression: CronExpression, *, after: datetime, zone: tzinfo) -> datetime | None:
    """Return the first instant after the given one at which an expression fires.

    Args:
        expression: What :func:`runledger.core.parse_cron` made.
        after: An instant, with any time zone. A fire at this very instant does not count.
        zone: Whose local time the expression means: a :class:`zoneinfo.ZoneInfo`, or ``datetime.UTC``.

    Returns:
        An instant in UTC, in whole seconds; or ``None`` if there is none within a hundred years. That is so when
        the years of the expression are over, or when its only times are those that the clock skips.

    Raises:
        InvalidArgumentError: ``after`` has no time zone, or a year before 2 or after 9998.
    """
    _check_instant("after", after)
    local, fold = _local(after, zone)
    change = _change_around(local, zone)
    starts = [local + _SECOND]
    if change is not None and fold == 0:
        # The times from the beginning of the repeated stretch come once more, although they are earlier.
        starts.append(change.first_local)
    fires = [_first_fire(expression, start, after, zone) for start in starts]
    return min((fire for fire in fires if fire is not None), default=None)


def previous_fire(expression: CronExpression, *, before: datetime, zone: tzinfo) -> datetime | None:
    """Return the last instant before the given one at which an expression fires.

    The counterpart of :func:`next_fire`: both walk the same sequence of instants.

    Args:
        expression: What :func:`runledger.core.parse_cron` made.
        before: An instant, with any time zone. A fire at this very instant does not count.
        zone: Whose local time the expression means: a :class:`zoneinfo.ZoneInfo`, or ``datetime.UTC``.

    Returns:
        An instant in UTC, in whole seconds; or ``None`` if there is none within a hundred years.

    Raises:
        InvalidArgumentError: ``before`` has no time zone, or a year before 2 or after 9998.
    """
    _check_instant("before", before)
    local, fold = _local(before - timedelta.resolution, zone)
    change = _change_around(local, zone)
    starts = [local]
    if change is not None and fold == 1:
        # The times up to the end of the repeated stretch were there before, although they are later.
        starts.append(change.end_local - _SECOND)
    fires = [_last_fire(expression, start, before, zone) for start in starts]
    return max((fire for fire in fires if fire is not None), default=None)


def fires_ahead(expression: CronExpression, *, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield what :func:`next_fire` returns, and what it returns after that, and so on, without a new search for each.

    Args:
        expression: What :func:`runledger.core.parse_cron` made.
        after: As for :func:`next_fire`.
        zone: As for :func:`next_fire`.
    """
    fire = next_fire(expression, after=after, zone=zone)
    while fire is not None:
        yield fire
        for plain in _plain_fires_ahead(expression, fire, zone):
            yield plain
            fire = plain  # the next search goes on from the last one
        fire = next_fire(expression, after=fire, zone=zone)


def fires_back(expression: CronExpression, *, before: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield what :func:`previous_fire` returns, and what it returns before that, and so on, the latest first.

    Args:
        expression: What :func:`runledger.core.parse_cron` made.
        before: As for :func:`previous_fire`.
        zone: As for :func:`previous_fire`.
    """
    fire = previous_fire(expression, before=before, zone=zone)
    while fire is not None:
        yield fire
        for plain in _plain_fires_back(expression, fire, zone):
            yield plain
            fire = plain  # as above
        fire = previous_fire(expression, before=fire, zone=zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A change of the clock, as seen from one of the local times that it skips or repeats.

    Attributes:
        at: The instant of the change.
        before: Offset from UTC until then.
        after: Offset from then on; greater than before when local times are skipped.
    """

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def first_local(self) -> datetime:
        """The first local time that is skipped or repeated."""
        return (self.at + min(self.before, self.after)).replace(tzinfo=None)

    @property
    def end_local(self) -> datetime:
        """The local time with which those that are skipped or repeated are over."""
        return (self.at + max(self.before, self.after)).replace(tzinfo=None)

    @property
    def skips(self) -> bool:
        """Whether local times are skipped, not repeated."""
        return self.after > self.before

    def is_ignored_by(self, expression: CronExpression) -> bool:
        """Whether the expression fires as the clock shows its times."""
        return expression.follows_wall_clock or abs(self.after - self.before) >= _SHORTEST_CORRECTION


def _first_fire(expression: CronExpression, start: datetime, after: datetime, zone: tzinfo) -> datetime | None:
    last_year = min(start.year + _HORIZON_YEARS, _LAST_YEAR)
    local = start
    while (match := first_match(expression, local, last_year=last_year)) is not None:
        change = _change_around(match, zone)
        for fire in _fires_of(expression, match, change, zone):
            if fire > after:
                return fire
        local = change.end_local if change is not None and change.skips else match + _SECOND
    return None


def _last_fire(expression: CronExpression, start: datetime, before: datetime, zone: tzinfo) -> datetime | None:
    first_year = max(start.year - _HORIZON_YEARS, _FIRST_YEAR)
    local = start
    while (match := last_match(expression, local, first_year=first_year)) is not None:
        change = _change_around(match, zone)
        for fire in reversed(_fires_of(expression, match, change, zone)):
            if fire < before:
                return fire
        local = (change.first_local if change is not None and change.skips else match) - _SECOND
    return None


def _plain_fires_ahead(expression: CronExpression, fire: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the fires after one, up to the first local time that the clock skips or repeats."""
    local, _ = _local(fire, zone)
    matches = matches_ahead(expression, local + _SECOND, last_year=min(local.year + _HORIZON_YEARS, _LAST_YEAR))
    return _plain_fires(local, matches, zone)


def _plain_fires_back(expression: CronExpression, fire: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the fires before one, down to the last local time that the clock skips or repeats."""
    local, _ = _local(fire, zone)
    matches = matches_back(expression, local - _SECOND, first_year=max(local.year - _HORIZON_YEARS, _FIRST_YEAR))
    return _plain_fires(local, matches, zone)


def _plain_fires(start: datetime, matches: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    # Where each local time is one instant, instants follow each other as local times do, also beyond a change of the
    # clock that skips or repeats none of these times. Those that it does are for a new search.
    if _offset(start, zone, fold=0) != _offset(start, zone, fold=1):
        return
    for match in matches:
        offset = _offset(match, zone, fold=0)
        if offset != _offset(match, zone, fold=1):
            return
        yield _instant(match, offset)


def _fires_of(
    expression: CronExpression, match: datetime, change: _Change | None, zone: tzinfo
) -> tuple[datetime, ...]:
    """Return the instants of one local time at which the expression fires, in order."""
    if change is None:
        return (_instant(match, _offset(match, zone, fold=0)),)
    if change.skips:
        return () if change.is_ignored_by(expression) else (change.at,)
    first, second = _instant(match, change.before), _instant(match, change.after)
    return (first, second) if change.is_ignored_by(expression) else (first,)


def _change_around(local: datetime, zone: tzinfo) -> _Change | None:
    """Return the change of the clock that skips or repeats a local time, if there is one.

    For such a time, and for no other, the two values of ``fold`` give two offsets: those before and after the
    change.
    """
    before, after = _offset(local, zone, fold=0), _offset(local, zone, fold=1)
    if before == after:
        return None
    # The change lies between the two readings of the local time.
    earliest = _instant(local, max(before, after))
    seconds_to_before, seconds_to_after = 0, abs(after - before) // _SECOND
    while seconds_to_after - seconds_to_before > 1:
        middle = (seconds_to_before + seconds_to_after) // 2
        if (earliest + middle * _SECOND).astimezone(zone).utcoffset() == before:
            seconds_to_before = middle
        else:
            seconds_to_after = middle
    return _Change(at=earliest + seconds_to_after * _SECOND, before=before, after=after)


def _local(instant: datetime, zone: tzinfo) -> tuple[datetime, int]:
    """Return what the clock shows, in whole seconds, and whether it shows it for the first or the second time."""
    # By way of UTC: an instant that has this zone already would come back as it is, be it skipped or not.
    local = instant.astimezone(UTC).astimezone(zone)
    return local.replace(tzinfo=None, microsecond=0, fold=0), local.fold


def _instant(local: datetime, offset: timedelta) -> datetime:
    return (local - offset).replace(tzinfo=UTC)


def _offset(local: datetime, zone: tzinfo, *, fold: int) -> timedelta:
    return local.replace(tzinfo=zone, fold=fold).utcoffset() or _NO_OFFSET


def _check_instant(field: str, value: datetime) -> None:
    if value.utcoffset() is None:
        raise InvalidArgumentError(field, "has no time zone", "pass an instant, for example datetime.now(UTC)")
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise InvalidArgumentError(
            field, "is out of range", f"pass an instant in the years {_FIRST_YEAR} to {_LAST_YEAR}"
        )
