"""The server does what it was told, and the connection ends before its answer arrives."""

from __future__ import annotations

from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done
from tests.outages.process import outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import OutageServer
from tests.wire import Loss, wire_to

# Longer than the test: nothing is repaired by the end of a lease.
LEASE_TTL = 120
ROUNDS = 5

# What only these statements send: a claim, a completion, the commit of a handler's own transaction.
CLAIM, COMPLETION, COMMIT = b"WORKER_PRESTART", b'"output":', b"COMMIT"


async def test_lost_answers_of_claims_completions_and_commits_repeat_nothing(server: OutageServer) -> None:
    """A lost claim is given back at once, and an outcome that was written is found in the ledger."""
    await enqueue(server.url, 900)
    async with wire_to(server.url) as wire:
        for text in (CLAIM, COMPLETION, COMMIT) * ROUNDS:
            wire.break_at(text, Loss.ANSWER)
        async with outage_worker(wire.url, "one", lease_ttl=LEASE_TTL, application_url=server.url) as worker:
            await until_done(server.url)
            await worker.stop()
            check_quiet(worker, outages=2 * ROUNDS)
        assert wire.breaks_to_come == 0

    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LEASE_TTL)
    assert not explanation.failed_attempts
    assert explanation.effect_count == explanation.job_count
    assert explanation.returned_count > 0
