"""Handlers use up the application's pool."""

from __future__ import annotations

import signal

from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done, until_succeeded
from tests.outages.process import outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import OutageServer

LEASE_TTL = 1.5


async def test_handlers_that_keep_every_connection_of_the_pool_cost_no_lease(server: OutageServer) -> None:
    """The worker has connections of its own. Handlers that get none fail and are tried again; others run.

    The worker's pool is the application's, as both would share one in a small service.
    """
    await enqueue(server.url, 3, kinds=("hog",))
    async with outage_worker(
        server.url, "one", lease_ttl=LEASE_TTL, pool_size=3, pool_timeout=0.2, is_pool_given=True
    ) as worker:
        await worker.until("program.hogging", count=3)
        await enqueue(server.url, 20, kinds=("exact", "plain"))
        await enqueue(server.url, 20, kinds=("threaded",))  # these have a pool of their own
        await until_succeeded(server.url, more_than=19)
        async with observing(server.url) as observer:
            await observer.until(
                "(SELECT count(DISTINCT error_code) = 2 FROM runledger.job_attempts WHERE outcome = 'RETRYABLE')"
            )
            # Longer than a lease: they are renewed all the time.
            await observer.until(
                "(SELECT bool_and(clock_timestamp() > leased_at + interval '2 s') FROM runledger.job_attempts AS a"
                " JOIN runledger.job_queue AS q ON q.id = a.job_id WHERE q.job_type = 'hog')"
            )
        worker.signal(signal.SIGUSR1)
        await until_done(server.url)
        await worker.stop()
        check_quiet(worker)

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LEASE_TTL)
    assert explanation.lost_lease_count == 0
    assert not explanation.reruns
