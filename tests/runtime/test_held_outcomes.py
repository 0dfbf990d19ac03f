"""Which held outcomes have their turn, and how many of them count."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from runledger.core import JobFailure
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import Execution
from runledger.runtime.held_outcomes import HeldOutcomes
from runledger.runtime.outcome import Failed, Succeeded
from runledger.runtime.unwritten_outcome import Unwritten
from tests.claimed_jobs import claimed_job

RUN, OTHER_RUN = uuid4(), uuid4()


def outcome(*, run_id: UUID | None = None, output_json: str | None = None) -> Unwritten:
    execution = Execution(claimed_job(workflow_run_id=run_id), claimed_at=monotonic(), lease_ttl=60)
    return Unwritten(execution, Succeeded(output_json=output_json))


def held(*items: Unwritten) -> HeldOutcomes:
    outcomes = HeldOutcomes()
    for item in items:
        outcomes.add(item)
    return outcomes


def test_runs_and_plain_jobs_have_their_turn_one_after_the_other() -> None:
    of_run, plain, of_other, of_run_again = items = [
        outcome(run_id=RUN),
        outcome(),
        outcome(run_id=OTHER_RUN),
        outcome(run_id=RUN),
    ]
    outcomes = held(*items)

    turns = [outcomes.next_group() for _ in range(4)]

    assert turns == [[of_run, of_run_again], [plain], [of_other], [of_run, of_run_again]]


def test_a_group_that_comes_later_is_next() -> None:
    outcomes = held(outcome(run_id=RUN), outcome())
    outcomes.next_group()
    outcomes.next_group()
    outcomes.add(late := outcome())

    assert outcomes.next_group() == [late]


def test_only_outcomes_of_a_run_that_is_held_join_it() -> None:
    outcomes = held(outcome(run_id=RUN), outcome())

    assert outcomes.holds_run_of(outcome(run_id=RUN))
    assert not outcomes.holds_run_of(outcome(run_id=OTHER_RUN))
    assert not outcomes.holds_run_of(outcome())


def test_what_is_settled_is_let_go() -> None:
    items = [outcome(run_id=RUN), outcome(run_id=RUN), outcome()]
    outcomes = held(*items)
    items[0].is_settled = items[2].is_settled = True

    outcomes.let_go_settled()

    assert (outcomes.count, outcomes.batches()) == (1, [[items[1]]])
    items[1].is_settled = True
    outcomes.let_go_settled()
    assert (outcomes.count, outcomes.longest) == (0, None)
    assert not outcomes.holds_run_of(items[0])


@pytest.mark.parametrize(("count", "uncounted"), [(0, 0), (3, 3), (1_000, 1_000), (1_001, 1_000)])
def test_so_many_do_not_count(count: int, uncounted: int) -> None:
    assert held(*(outcome() for _ in range(count))).uncounted == uncounted


def test_what_was_refused_and_exchanged_leaves_no_bytes_behind() -> None:
    large = outcome(output_json="9" * 16 * 1024 * 1024)
    outcomes = held(large)
    large.outcome = Failed(failure=JobFailure.terminal("job.output_refused", "too large"), retry_delay=timedelta())
    large.is_settled = True
    outcomes.let_go_settled()
    outcomes.add(outcome())

    assert outcomes.uncounted == 1


def test_all_count_where_they_are_large() -> None:
    large = outcome(output_json="9" * 16 * 1024 * 1024)
    outcomes = held(outcome(), large)
    assert outcomes.uncounted == 0

    large.is_settled = True
    outcomes.let_go_settled()

    assert outcomes.uncounted == 1
