"""Which types a claim asks for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runledger.core import ClaimedJob
from runledger.runtime.slots import ClaimTurns, Turn, TypeLimits
from tests.claimed_jobs import claimed_job


def job(job_type: str) -> ClaimedJob:
    return claimed_job(job_type=job_type)


def some_turn(turns: ClaimTurns, *, free: int = 8) -> Turn:
    turn = turns.next(free)
    assert turn is not None
    return turn


def test_without_limits_every_claim_asks_for_all_types() -> None:
    turns = ClaimTurns(TypeLimits({}), ["a", "b"])

    assert turns.next(5) == Turn(limit=5, job_types=["a", "b"])
    assert not turns.answered(Turn(limit=5, job_types=["a", "b"]), is_short=False)
    assert turns.next(3) == Turn(limit=3, job_types=["a", "b"])
    assert turns.answered(Turn(limit=3, job_types=["a", "b"]), is_short=True)


def test_nothing_is_asked_for_without_a_free_slot_or_a_type() -> None:
    assert ClaimTurns(TypeLimits({}), ["a"]).next(0) is None
    assert ClaimTurns(TypeLimits({}), []).next(8) is None


def test_while_little_is_due_one_claim_asks_for_all_types_within_the_scarcest_limit() -> None:
    turns = ClaimTurns(TypeLimits({"a": 2}), ["a", "b"])

    turn = some_turn(turns)
    assert turn == Turn(limit=2, job_types=["b", "a"])
    assert turns.answered(turn, is_short=True)


def test_a_type_at_its_limit_is_left_out() -> None:
    limits = TypeLimits({"a": 1})
    turns = ClaimTurns(limits, ["a", "b"])
    limits.take([job("a")])

    assert turns.next(7) == Turn(limit=7, job_types=["b"])


def test_nothing_is_asked_for_while_all_types_are_at_their_limits() -> None:
    limits = TypeLimits({"a": 1})
    limits.take([job("a")])

    assert ClaimTurns(limits, ["a"]).next(7) is None


def test_with_a_backlog_scarce_types_and_the_others_take_turns_until_none_is_full() -> None:
    turns = ClaimTurns(TypeLimits({"a": 1, "b": 3}), ["a", "b", "c"])
    assert not turns.answered(some_turn(turns), is_short=False)

    asked: list[Turn] = []
    for is_short in (False, True, True, True):
        asked.append(turn := some_turn(turns))
        is_waiting = turns.answered(turn, is_short=is_short)

    of_others = Turn(limit=8, job_types=["c"])
    assert asked == [of_others, Turn(limit=1, job_types=["a"]), Turn(limit=3, job_types=["b"]), of_others]
    assert is_waiting
    assert turns.next(8) == Turn(limit=1, job_types=["c", "a", "b"])


def test_a_type_that_gets_room_while_the_others_are_claimed_has_its_turn_before_the_wait() -> None:
    """With room for all of them the types would be one group, of which one claim came back short already."""
    limits = TypeLimits({"a": 2})
    turns = ClaimTurns(limits, ["a", "b"])
    limits.take([job("a")])
    turns.answered(some_turn(turns), is_short=False)
    of_others = some_turn(turns, free=2)
    assert of_others.job_types == ["b"]
    limits.free("a")

    assert not turns.answered(of_others, is_short=True)
    assert turns.answered(some_turn(turns, free=2), is_short=True)


def test_a_type_whose_claim_came_back_short_has_another_turn_after_a_wake_up() -> None:
    """The wake-up may be for a job of it that was committed since."""
    turns = ClaimTurns(TypeLimits({"a": 1}), ["b", "a"])
    turns.answered(some_turn(turns), is_short=False)
    assert not turns.answered(some_turn(turns), is_short=True)

    turns.woken()

    assert not turns.answered(some_turn(turns), is_short=True)
    assert turns.answered(some_turn(turns), is_short=True)


def test_a_freed_slot_tells_when_its_type_may_be_claimed_again() -> None:
    limits = TypeLimits({"a": 2})
    limits.take([job("a"), job("a"), job("b")])

    assert not limits.free("b")
    assert limits.free("a")
    assert not limits.free("a")
    assert limits.free_of("a") == 2


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 4)),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcd")), max_size=40),
)
def test_no_type_ever_exceeds_its_limit(limits: dict[str, int], steps: list[tuple[bool, str]]) -> None:
    """Whatever a claim brings of what it asked for."""
    counts = TypeLimits(limits)
    turns = ClaimTurns(counts, list("abcd"))
    running: list[str] = []
    for is_claim, favourite in steps:
        free = 6 - len(running)
        turn = turns.next(free) if is_claim else None
        if turn is not None:
            assert 1 <= turn.limit <= free
            # The worst case for a limit: everything that comes is of one type.
            brought = [favourite] * turn.limit if favourite in turn.job_types else []
            counts.take(job(job_type) for job_type in brought)
            running += brought
            turns.answered(turn, is_short=not brought)
        elif running:
            counts.free(running.pop(0))
        for job_type, limit in limits.items():
            assert running.count(job_type) <= limit
