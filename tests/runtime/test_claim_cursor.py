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


def swept(*, seconds: float = 0.01) -> ClaimCursor:
    """A cursor after one sweep, which was over at instant 0 and took so long."""
    cursor = ClaimCursor()
    cursor.ended(TYPES, POSITION, is_sweep=True, started_at=-seconds, now=0)
    return cursor


def test_the_first_claim_is_a_sweep_and_the_next_begins_where_it_ended() -> None:
    assert ClaimCursor().position(TYPES, 0) is None
    assert swept().position(TYPES, 0) == POSITION


def test_a_second_after_a_sweep_the_next_is_due_whatever_lies_between() -> None:
    cursor = swept()
    later = replace(POSITION, job_id=UUID(int=8))
    cursor.ended(TYPES, later, is_sweep=False, started_at=0.5, now=0.6)

    assert cursor.position(TYPES, 0.99) == later
    assert cursor.position(TYPES, 1) is None


def test_a_sweep_that_takes_long_is_made_less_often() -> None:
    cursor = swept(seconds=0.2)

    assert cursor.position(TYPES, 3.9) == POSITION
    assert cursor.position(TYPES, 4) is None


def test_other_types_have_a_position_of_their_own() -> None:
    cursor = swept()

    assert cursor.position(TYPES[:1], 0) is None
    assert cursor.position(TYPES, 0) == POSITION


def test_a_job_that_is_expected_lowers_the_watermark_to_just_before_its_due_time() -> None:
    cursor = swept()

    cursor.expect(NOON - timedelta(hours=1))
    lowered = cursor.position(TYPES, 0)
    cursor.expect(NOON)

    assert lowered == replace(POSITION, watermark=NOON - timedelta(hours=1, microseconds=1))
    assert cursor.position(TYPES, 0) == lowered


def test_a_job_that_is_due_after_the_watermark_changes_nothing() -> None:
    cursor = swept()

    cursor.expect(NOON + timedelta(microseconds=1))

    assert cursor.position(TYPES, 0) == POSITION


def test_what_is_forgotten_makes_the_next_claim_a_sweep() -> None:
    cursor = swept()

    cursor.forget()

    assert cursor.position(TYPES, 0) is None


def test_a_job_that_is_expected_during_a_claim_is_seen_by_the_next_one() -> None:
    """The claim in flight may have looked before the job was there."""
    cursor = swept()

    assert cursor.position(TYPES, 0) == POSITION
    cursor.expect(NOON - timedelta(hours=1))
    cursor.ended(TYPES, POSITION, is_sweep=False, started_at=0, now=0)

    assert cursor.position(TYPES, 0) == replace(POSITION, watermark=NOON - timedelta(hours=1, microseconds=1))
    cursor.ended(TYPES, POSITION, is_sweep=False, started_at=0, now=0)
    assert cursor.position(TYPES, 0) == POSITION


def test_what_is_forgotten_during_a_claim_stays_forgotten() -> None:
    cursor = swept()

    assert cursor.position(TYPES, 0) == POSITION
    cursor.forget()
    cursor.ended(TYPES, POSITION, is_sweep=False, started_at=0, now=0)

    assert cursor.position(TYPES, 0) is None


def test_positions_of_ever_new_types_do_not_pile_up() -> None:
    cursor = swept()
    for number in range(1_000):
        cursor.ended([str(number)], POSITION, is_sweep=True, started_at=0, now=0)

    assert cursor.position(["999"], 0) == POSITION
    assert cursor.position(TYPES, 0) is None
