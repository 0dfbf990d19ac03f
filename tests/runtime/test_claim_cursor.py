"""When a claim begins where the last one ended, and when at the start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runledger.postgres.jobs import ClaimPosition
from runledger.runtime.claim_cursor import ClaimCursor

NOON = datetime(2026, 5, 26, 12, tzinfo=UTC)
POSITION = ClaimPosition(watermark=NOON, priority=100, next_run_at=NOON, job_id=UUID(int=7))
TYPES = ["email.send", "invoice.send"]
HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)


def end(cursor: ClaimCursor, types: list[str], position: ClaimPosition, *, begun_at: float = 0, now: float = 0) -> None:
    """Let a claim begin and end."""
    cursor.ended(cursor.begin(types, begun_at), position, now)


def swept(*, seconds: float = 0.01) -> ClaimCursor:
    """A cursor after one sweep, which was over at instant 0 and took so long."""
    cursor = ClaimCursor()
    end(cursor, TYPES, POSITION, begun_at=-seconds)
    return cursor


def next_position(cursor: ClaimCursor, types: list[str] = TYPES, *, now: float = 0) -> ClaimPosition | None:
    return cursor.begin(types, now).position


def test_the_first_claim_is_a_sweep_and_the_next_begins_where_it_ended() -> None:
    assert next_position(ClaimCursor()) is None
    assert next_position(swept()) == POSITION


def test_a_second_after_a_sweep_the_next_is_due_whatever_lies_between() -> None:
    cursor = swept()
    later = replace(POSITION, job_id=UUID(int=8))
    end(cursor, TYPES, later, begun_at=0.5, now=0.6)

    assert next_position(cursor, now=0.99) == later
    assert next_position(cursor, now=1) is None


def test_a_sweep_that_takes_long_is_made_less_often() -> None:
    cursor = swept(seconds=0.2)

    assert next_position(cursor, now=3.9) == POSITION
    assert next_position(cursor, now=4) is None


def test_one_sweep_that_takes_very_long_does_not_put_off_the_next_for_minutes() -> None:
    assert next_position(swept(seconds=30), now=15) is None


def test_other_types_have_a_position_of_their_own() -> None:
    cursor = swept()

    assert next_position(cursor, TYPES[:1]) is None
    assert next_position(cursor) == POSITION


def test_a_job_that_is_expected_lowers_the_position_to_just_before_its_due_time() -> None:
    cursor = swept()

    cursor.expect(NOON - HOUR)
    lowered = next_position(cursor)
    cursor.expect(NOON)

    assert lowered == POSITION.before(NOON - HOUR)
    assert next_position(cursor) == lowered


def test_a_job_that_is_due_after_the_position_changes_nothing() -> None:
    cursor = swept()

    cursor.expect(NOON + MOMENT)

    assert next_position(cursor) == POSITION


def test_what_is_forgotten_makes_the_next_claim_a_sweep() -> None:
    cursor = swept()

    cursor.forget()

    assert next_position(cursor) is None


def test_a_job_that_is_expected_during_a_claim_is_seen_by_the_next_one() -> None:
    """The claim in flight may have looked before the job was there."""
    cursor = swept()
    start = cursor.begin(TYPES, 0)

    cursor.expect(NOON - HOUR)
    cursor.ended(start, POSITION, 0)

    assert next_position(cursor) == POSITION.before(NOON - HOUR)
    end(cursor, TYPES, POSITION)
    assert next_position(cursor) == POSITION


def test_what_is_forgotten_during_a_claim_stays_forgotten() -> None:
    cursor = swept()
    start = cursor.begin(TYPES, 0)

    cursor.forget()
    cursor.ended(start, POSITION, 0)

    assert next_position(cursor) is None


def test_a_claim_that_failed_makes_the_next_one_a_sweep() -> None:
    cursor = swept()
    cursor.begin(TYPES, 0)

    cursor.failed()

    assert next_position(cursor) is None


def test_positions_of_ever_new_types_do_not_pile_up() -> None:
    cursor = swept()
    for number in range(1_000):
        end(cursor, [str(number)], POSITION)

    assert next_position(cursor, ["999"]) == POSITION
    assert next_position(cursor) is None
