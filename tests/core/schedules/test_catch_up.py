"""Which due times fire, and when the schedule is due next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runledger.core import CatchUp, FirePlan, InvalidArgumentError, fire_jitter, parse_cron, plan_fires

SCHEDULE_ID = UUID("018fa1f8-0000-7000-8000-000000000123")
NOON = datetime(2026, 5, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def plan(
    text: str,
    *,
    next_fire_at: datetime,
    now: datetime,
    catch_up: CatchUp = CatchUp.LATEST,
    catch_up_limit: int = 100,
    grace: timedelta = timedelta(minutes=1),
    max_jitter_seconds: int = 0,
    zone_name: str = "UTC",
    set_at: datetime | None = None,
) -> FirePlan:
    return plan_fires(
        parse_cron(text),
        zone=ZoneInfo(zone_name),
        schedule_id=SCHEDULE_ID,
        max_jitter_seconds=max_jitter_seconds,
        next_fire_at=next_fire_at,
        now=now,
        catch_up=catch_up,
        catch_up_limit=catch_up_limit,
        grace=grace,
        set_at=set_at,
    )


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_schedule_that_is_not_due_fires_nothing_and_keeps_its_time(catch_up: CatchUp) -> None:
    due_at = NOON + timedelta(microseconds=1)

    assert plan("0 * * * *", next_fire_at=due_at, now=NOON, catch_up=catch_up) == FirePlan(
        due=(), leaves_out=False, next_fire_at=due_at
    )


@pytest.mark.parametrize("catch_up", CatchUp)
@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=30)])
def test_a_schedule_that_is_due_fires_once_and_moves_past_now(catch_up: CatchUp, late: timedelta) -> None:
    """SCH-001."""
    assert plan("0 * * * *", next_fire_at=NOON, now=NOON + late, catch_up=catch_up) == FirePlan(
        due=(NOON,), leaves_out=False, next_fire_at=NOON + HOUR
    )


def test_latest_fires_the_last_of_many_missed_times_once() -> None:
    """SCH-002."""
    now = NOON + 40 * DAY + timedelta(minutes=20)

    assert plan("0 * * * *", next_fire_at=NOON, now=now) == FirePlan(
        due=(NOON + 40 * DAY,), leaves_out=True, next_fire_at=NOON + 40 * DAY + HOUR
    )


def test_skip_fires_nothing_when_the_last_missed_time_is_older_than_the_grace() -> None:
    now = NOON + 2 * HOUR + timedelta(seconds=61)

    assert plan("0 * * * *", next_fire_at=NOON, now=now, catch_up=CatchUp.SKIP) == FirePlan(
        due=(), leaves_out=True, next_fire_at=NOON + 3 * HOUR
    )


def test_skip_fires_the_last_of_the_missed_times_if_it_is_on_time() -> None:
    now = NOON + 2 * HOUR + timedelta(seconds=60)

    assert plan("0 * * * *", next_fire_at=NOON, now=now, catch_up=CatchUp.SKIP) == FirePlan(
        due=(NOON + 2 * HOUR,), leaves_out=True, next_fire_at=NOON + 3 * HOUR
    )


@pytest.mark.parametrize(("limit", "leaves_out"), [(4, False), (3, False), (2, True), (1, True)])
def test_all_fires_the_latest_of_the_missed_times_up_to_the_bound(limit: int, *, leaves_out: bool) -> None:
    missed = (NOON, NOON + HOUR, NOON + 2 * HOUR)
    found = plan("0 * * * *", next_fire_at=NOON, now=NOON + 2.5 * HOUR, catch_up=CatchUp.ALL, catch_up_limit=limit)

    assert found == FirePlan(due=missed[-limit:], leaves_out=leaves_out, next_fire_at=NOON + 3 * HOUR)


def test_a_stored_time_between_cron_times_is_due_as_well() -> None:
    """An operator may set it to any instant."""
    stored = NOON + timedelta(minutes=10)
    found = plan("0 * * * *", next_fire_at=stored, now=NOON + HOUR, catch_up=CatchUp.ALL)

    assert found.due == (stored, NOON + HOUR)


def test_missed_days_are_those_of_the_zone_with_a_skipped_hour_made_up_for() -> None:
    """On 29 March 2026 there is no 02:30 in Berlin: the fire is at 03:00."""
    found = plan(
        "30 2 * * *",
        next_fire_at=datetime(2026, 3, 28, 1, 30, tzinfo=UTC),
        now=datetime(2026, 3, 30, 12, tzinfo=UTC),
        catch_up=CatchUp.ALL,
        zone_name="Europe/Berlin",
    )

    assert found.due == (
        datetime(2026, 3, 28, 1, 30, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    )
    assert found.next_fire_at == datetime(2026, 3, 31, 0, 30, tzinfo=UTC)


def test_a_year_of_missed_seconds_is_not_counted_through() -> None:
    """Were it, this test would take minutes."""
    now = NOON + 365 * DAY
    found = plan("* * * * * *", next_fire_at=NOON, now=now, catch_up=CatchUp.ALL, catch_up_limit=3)

    assert found == FirePlan(
        due=(now - timedelta(seconds=2), now - timedelta(seconds=1), now),
        leaves_out=True,
        next_fire_at=now + timedelta(seconds=1),
    )


class CountingZone(tzinfo):
    """Berlin, and how often it was asked."""

    asked = 0

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        self.asked += 1
        return None if dt is None else dt.replace(tzinfo=ZoneInfo("Europe/Berlin")).utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=ZoneInfo("Europe/Berlin")).dst()

    def tzname(self, dt: datetime | None) -> str | None:
        return None if dt is None else "Berlin"

    def fromutc(self, dt: datetime) -> datetime:
        self.asked += 1
        return dt.replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=self)


def test_due_times_that_follow_each_other_are_not_searched_one_by_one() -> None:
    """A scheduler plans while it holds locks, and other tasks wait. A step asks for two offsets, a search for more."""
    zone = CountingZone()
    found = plan_fires(
        parse_cron("* * * * *"),
        zone=zone,
        schedule_id=SCHEDULE_ID,
        max_jitter_seconds=0,
        next_fire_at=NOON,
        now=NOON + 2 * DAY,
        catch_up=CatchUp.ALL,
        catch_up_limit=1_000,
        grace=timedelta(),
    )

    assert len(found.due) == 1_000
    assert zone.asked <= 2 * 1_000 + 50


def test_a_last_due_time_still_fires_and_leaves_no_next() -> None:
    last = datetime(2026, 12, 31, tzinfo=UTC)

    assert plan("0 0 0 31 12 ? 2026", next_fire_at=last, now=last + HOUR) == FirePlan(
        due=(last,), leaves_out=False, next_fire_at=None
    )


def test_a_cron_time_whose_jitter_still_lies_ahead_is_not_passed_over() -> None:
    """After three days of downtime, at the very cron time of today."""
    midnight = datetime(2026, 5, 26, tzinfo=UTC)
    today, yesterday = (
        time + fire_jitter(SCHEDULE_ID, time, max_jitter_seconds=3600) for time in (midnight, midnight - DAY)
    )
    assert today > midnight

    found = plan("0 0 * * *", next_fire_at=midnight - 3 * DAY, now=midnight, max_jitter_seconds=3600)

    assert found == FirePlan(due=(yesterday,), leaves_out=True, next_fire_at=today)


@settings(deadline=None)
@given(
    max_jitter_seconds=st.sampled_from([0, 30, 3599, 7200, 86_400]),
    hours_down=st.integers(0, 72),
    seconds=st.integers(0, 3599),
    limit=st.integers(1, 100),
)
def test_every_cron_time_after_the_stored_time_is_due_now_or_at_the_next_time_or_later(
    max_jitter_seconds: int, hours_down: int, seconds: int, limit: int
) -> None:
    """SCH-010. Against a list of all cron times, each with its jitter."""
    now = NOON + timedelta(hours=hours_down, seconds=seconds)
    cron_times = [NOON + hours * HOUR for hours in range(1, hours_down + 3)]
    due_times = [time + fire_jitter(SCHEDULE_ID, time, max_jitter_seconds=max_jitter_seconds) for time in cron_times]
    passed = [NOON, *(due_at for due_at in due_times if due_at <= now)]
    found = plan(
        "0 * * * *",
        next_fire_at=NOON,
        now=now,
        catch_up=CatchUp.ALL,
        catch_up_limit=limit,
        max_jitter_seconds=max_jitter_seconds,
    )

    assert len(found.due) == min(limit, len(passed))
    assert list(found.due) == sorted(found.due)
    assert set(found.due) <= set(passed)
    assert found.leaves_out == (limit < len(passed))
    assert found.next_fire_at == next(due_at for due_at in due_times if due_at > now)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_bound_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InvalidArgumentError, match="catch_up_limit: is out of range"):
        plan("0 * * * *", next_fire_at=NOON, now=NOON, catch_up=CatchUp.ALL, catch_up_limit=limit)


def test_a_negative_grace_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="grace: is negative"):
        plan("0 * * * *", next_fire_at=NOON, now=NOON, grace=-timedelta.resolution)


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_due_time_of_the_past_that_was_set_by_hand_fires_once(catch_up: CatchUp) -> None:
    """What the expression had since then had its turn before the instant was set."""
    now = NOON + timedelta(minutes=30)
    set_to = now - 5 * HOUR

    assert plan("0 * * * *", next_fire_at=set_to, now=now, catch_up=catch_up, set_at=now) == FirePlan(
        due=(set_to,), leaves_out=False, next_fire_at=NOON + HOUR
    )


@pytest.mark.parametrize(
    ("catch_up", "caught_up"),
    [
        (CatchUp.LATEST, [NOON + 3 * HOUR]),
        (CatchUp.ALL, [NOON + hours * HOUR for hours in (1, 2, 3)]),
        (CatchUp.SKIP, []),
    ],
)
def test_what_was_missed_after_a_due_time_that_was_set_by_hand_is_caught_up_with(
    catch_up: CatchUp, caught_up: list[datetime]
) -> None:
    set_to = NOON + timedelta(minutes=10)
    now = NOON + 3 * HOUR + timedelta(minutes=20)

    found = plan("0 * * * *", next_fire_at=set_to, now=now, catch_up=catch_up, set_at=NOON)

    assert found == FirePlan(
        due=(set_to, *caught_up), leaves_out=catch_up is not CatchUp.ALL, next_fire_at=NOON + 4 * HOUR
    )


def test_a_time_whose_jitter_ends_after_another_was_set_by_hand_is_not_lost() -> None:
    """It fires beside it, however late the scheduler comes by."""
    jitter = fire_jitter(SCHEDULE_ID, NOON, max_jitter_seconds=3_000)
    set_at = NOON + jitter / 2
    set_to = NOON - timedelta(minutes=90)

    found = plan("0 * * * *", next_fire_at=set_to, now=NOON + jitter, max_jitter_seconds=3_000, set_at=set_at)

    assert found.due == (set_to, NOON + jitter)


def test_a_time_that_was_due_before_another_was_set_by_hand_has_had_its_turn() -> None:
    jitter = fire_jitter(SCHEDULE_ID, NOON, max_jitter_seconds=3_000)
    set_to = NOON - timedelta(minutes=90)

    found = plan("0 * * * *", next_fire_at=set_to, now=NOON + jitter, max_jitter_seconds=3_000, set_at=NOON + jitter)

    assert found.due == (set_to,)
