"""The clock of the server jumps. Workers measure by their own steady clocks, and the database decides by its own."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from tests.outages.clock import make_movable_clock, move_clock
from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done, until_held, until_succeeded
from tests.outages.process import outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import TABLES, OutageServer

HOUR = timedelta(hours=1)
LEASE_TTL = 2


@pytest.fixture
def url(server: OutageServer) -> str:
    """A database whose clock can be moved."""
    url = server.ensure_database("clocked")
    make_movable_clock(url, tables=TABLES)
    return url


async def test_a_clock_that_jumps_ahead_ends_all_leases_and_their_jobs_are_done_by_other_attempts(url: str) -> None:
    """The attempts that were running can finish nothing any more: their handlers are canceled."""
    await enqueue(url, 8, kinds=("gated",))
    async with outage_worker(url, "one", lease_ttl=LEASE_TTL) as worker:
        await until_held(url, count=8)
        move_clock(url, HOUR)
        await worker.until("worker.outcome_not_written", count=8)
        worker.signal(signal.SIGUSR1)
        await until_done(url)
        await worker.stop()
        check_quiet(worker)

    async with observing(url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LEASE_TTL, is_clock_steady=False)
    assert (explanation.lost_lease_count, explanation.effect_count) == (8, 8)


async def test_a_clock_that_jumps_back_costs_no_lease_and_new_jobs_are_done_at_once(url: str) -> None:
    """Jobs from before the jump wait until the clock has come there again."""
    await enqueue(url, 16, kinds=("gated",))
    async with outage_worker(url, "one", lease_ttl=LEASE_TTL) as worker:
        await until_held(url, count=8)
        move_clock(url, -HOUR)
        worker.signal(signal.SIGUSR1)
        await enqueue(url, 30)
        await until_succeeded(url, more_than=37)
        async with observing(url) as observer:
            waiting = await observer.column("SELECT status::text FROM runledger.job_queue WHERE job_type = 'gated'")
        assert sorted(waiting) == ["PENDING"] * 8 + ["SUCCEEDED"] * 8
        move_clock(url, timedelta())
        await until_done(url)
        await worker.stop()
        check_quiet(worker)

    async with observing(url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LEASE_TTL, is_clock_steady=False)
    assert (explanation.lost_lease_count, explanation.effect_count) == (0, 46)
