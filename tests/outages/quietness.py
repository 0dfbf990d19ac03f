"""How much a worker may say about an outage: as much about one of a night as about one of a second."""

from __future__ import annotations

from tests.outages.process import OutageWorker

# Each of these is said once until it works again. Between two failures of one outage all outcomes may be written: a
# disk that is full lets small writes through.
_ONCE_PER_OUTAGE = {
    "worker.claim_failed": 1,
    "worker.claim_recovered": 1,
    "worker.outcome_write_failed": 2,
    "worker.outcome_write_recovered": 2,
    "worker.outcomes_held": 1,
    "worker.outcomes_free": 1,
    "lease_keeper.renewal_failed": 1,
    "lease_keeper.renewal_recovered": 1,
    "lease_keeper.loop_stalled": 1,
    "lease_keeper.loop_resumed": 1,
    "reaper.pass_failed": 1,
    "reaper.pass_recovered": 1,
    "scheduler.pass_failed": 1,
    "scheduler.pass_recovered": 1,
    "listener.connection_lost": 1,
    "listener.connection_recovered": 1,
    "worker.claims_not_returned": 1,
    "worker.forgotten_claims_left_to_reaper": 1,
}
# These come with the start, with the stop, and with leases that were taken away.
_ONCE = {"supervisor.started", "supervisor.stopping", "supervisor.stopped"}
_PER_SLOT = {"worker.outcome_not_written", "worker.thread_abandoned", "worker.thread_returned"}
_PER_REAPING = {"reaper.leases_expired"}


def check_quiet(worker: OutageWorker, *, outages: int = 1, slots: int = 8) -> None:
    """Assert that a worker did not flood its log.

    Args:
        worker: The worker, after its end.
        outages: How often its database was away, or a connection was lost.
        slots: Jobs that it ran at once, each of which may have lost its lease in each outage.
    """
    counts = worker.counts(logger="runledger.")
    for event, count in counts.items():
        if event in _PER_SLOT | _PER_REAPING:
            limit = slots * outages
        else:
            limit = 1 if event in _ONCE else _ONCE_PER_OUTAGE.get(event, 0) * outages
        assert count <= limit, (event, counts)
    assert worker.other_lines == []
