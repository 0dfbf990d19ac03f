"""Connections end, or fall silent without an end."""

from __future__ import annotations

import signal

from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done, until_held, until_succeeded
from tests.outages.process import outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import OutageServer
from tests.wire import wire_to

LONG_LEASE = 60
SHORT_LEASE = 1.5
CUTS = 5

END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_sessions_that_are_ended_again_and_again_cost_no_lease(server: OutageServer) -> None:
    """As an administrator ends them, or a firewall does: all of a worker at once, and of its handlers as well."""
    await enqueue(server.url, 300 * CUTS)
    async with outage_worker(server.url, "one", lease_ttl=LONG_LEASE) as worker:
        for cut in range(CUTS):
            await until_succeeded(server.url, more_than=250 * cut)
            async with observing(server.url) as observer:
                await observer.execute(END_SESSIONS)
        await until_done(server.url)
        await worker.stop()
        check_quiet(worker, outages=CUTS)

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LONG_LEASE)
    assert explanation.lost_lease_count == 0


async def test_a_worker_behind_a_silent_network_loses_its_jobs_to_others_and_works_again_after_it(
    server: OutageServer,
) -> None:
    """Nothing tells it that nobody is there. What it sent meanwhile arrives late, and changes nothing."""
    await enqueue(server.url, 600, kinds=("plain",))
    async with (
        wire_to(server.url) as wire,
        outage_worker(wire.url, "cut off", lease_ttl=SHORT_LEASE) as cut_off,
    ):
        await until_succeeded(server.url, more_than=50)
        wire.freeze()
        async with outage_worker(server.url, "other", lease_ttl=SHORT_LEASE) as other:
            await until_done(server.url)
            await other.stop()
        await cut_off.until("worker.claim_failed")
        wire.thaw()
        await cut_off.until("worker.claim_recovered")
        await enqueue(server.url, 30)
        await until_done(server.url)
        await cut_off.stop()
        check_quiet(cut_off)

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=SHORT_LEASE)
        by_worker = dict(
            await observer.rows("SELECT worker_id, max(leased_at) FROM runledger.job_attempts GROUP BY worker_id")
        )
    # Eight jobs run at once, and as many more may be outcomes that wait, or a claim whose answer did not come.
    assert explanation.lost_lease_count <= 2 * 8
    assert by_worker["cut off"] > by_worker["other"]


async def test_connections_that_fall_silent_for_ever_are_replaced_in_time_to_keep_the_leases(
    server: OutageServer,
) -> None:
    """Half-open: no packet ends them. New connections are fine, so the keeper's next renewal comes in time."""
    lease_ttl = 4
    await enqueue(server.url, 8, kinds=("gated",))
    async with (
        wire_to(server.url) as wire,
        outage_worker(wire.url, "one", lease_ttl=lease_ttl, application_url=server.url) as worker,
    ):
        await until_held(server.url, count=8)
        wire.strand()
        await worker.until("lease_keeper.renewal_failed")
        await worker.until("lease_keeper.renewal_recovered")
        worker.signal(signal.SIGUSR1)
        await enqueue(server.url, 30)
        await until_done(server.url)
        wire.cut()  # as the kernel does when its patience is over; the stop need not wait for that
        await worker.stop()
        check_quiet(worker, outages=2)

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=lease_ttl)
    assert (explanation.lost_lease_count, explanation.effect_count) == (0, 38)
