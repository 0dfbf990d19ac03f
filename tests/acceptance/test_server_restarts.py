"""PostgreSQL is stopped in the middle of everything, and comes back."""

from __future__ import annotations

import signal

from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done, until_held, until_succeeded
from tests.outages.process import outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import OutageServer

LONG_LEASE = 60
SHORT_LEASE = 1


async def test_an_outage_that_is_shorter_than_the_leases_costs_none_of_them(server: OutageServer) -> None:
    """Outcomes wait for the server, and claims whose answer was lost are given back: nothing waits for a reaper."""
    await enqueue(server.url, 600)
    async with (
        outage_worker(server.url, "one", lease_ttl=LONG_LEASE) as one,
        outage_worker(server.url, "two", lease_ttl=LONG_LEASE) as two,
    ):
        await until_succeeded(server.url, more_than=100)
        server.stop_immediately()
        for worker in (one, two):
            await worker.until("worker.claim_failed")
        server.start()
        await until_done(server.url)
        for worker in (one, two):
            await worker.stop()
            check_quiet(worker)

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LONG_LEASE)
    assert explanation.lost_lease_count == 0


async def test_an_outage_that_is_longer_than_the_leases_gives_their_jobs_to_other_attempts(
    server: OutageServer,
) -> None:
    """Their handlers are canceled before the leases end, so that no two attempts of a job run at the same time."""
    await enqueue(server.url, 8, kinds=("gated",))
    async with outage_worker(server.url, "one", lease_ttl=SHORT_LEASE) as worker:
        await until_held(server.url, count=8)
        server.stop_immediately()
        await worker.until("worker.outcome_not_written", count=8)
        await worker.until("lease_keeper.renewal_failed")
        server.start()
        worker.signal(signal.SIGUSR1)
        await until_done(server.url)
        await worker.stop()
        check_quiet(worker)

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=SHORT_LEASE)
    assert (explanation.lost_lease_count, explanation.effect_count) == (8, 8)
