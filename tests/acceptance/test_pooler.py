"""A pooler stands between a worker and the server."""

from __future__ import annotations

from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done
from tests.outages.process import outage_worker
from tests.outages.server import OutageServer
from tests.wire import wire_to

LEASE_TTL = 60


async def test_a_worker_behind_a_pooler_prepares_nothing_and_says_so(server: OutageServer) -> None:
    """A prepared statement could meet another client's session. Every session stays as the pooler has made it."""
    await enqueue(server.url, 300)
    async with wire_to(server.url) as wire:
        wire.is_pooler = True
        async with outage_worker(wire.url, "one", lease_ttl=LEASE_TTL, application_url=server.url) as worker:
            await until_done(server.url)
            counts = worker.counts(logger="runledger.postgres")
            await worker.stop()
    assert counts["postgres.pooler_detected"] >= 1

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LEASE_TTL)
    assert explanation.effect_count == explanation.job_count
    assert not explanation.failed_attempts
