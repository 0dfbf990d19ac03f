"""How much each measurement does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Counts of jobs, samples and rounds.

    Attributes:
        drain_rounds: Rounds of drain beside yardstick.
        drain_jobs: Jobs of such a round.
        wal_jobs: Jobs over which the write-ahead log is counted.
        comparison_rounds: Rounds of each comparison of one kind of work with the plain one.
        comparison_jobs: Jobs on either side of a comparison.
        transaction_jobs: Jobs with transactions of handlers, compared with the plain ones of a comparison.
        single_enqueues: Jobs that are enqueued one by one.
        large_drain_jobs: Jobs of the one large drain.
        two_worker_jobs: Jobs that one process drains, and then two.
        latency_samples: Jobs whose start is timed, with a worker at rest.
        half_load_capacity_jobs: Jobs with which the whole load is found.
        half_load_seconds: How long single jobs are timed, with a worker that is half busy.
        held_waiting_jobs: Jobs that wait when the drain under a held snapshot begins.
        held_churned_jobs: Jobs that ended under a held snapshot before its claims are timed.
        held_claims: Claims that are timed, with and without a held snapshot.
        idle_seconds: How long an idle worker is watched.
        memory_jobs: Jobs over which the memory of a worker is watched.
        memory_wave_jobs: Jobs after which it is looked at again.
        memory_enqueues: Jobs of the one ``enqueue_many`` whose memory is watched.
        workflow_chains: Runs of four steps in a row.
        workflow_fans: Runs of a thousand steps between one and one.
        workflow_diamonds: Runs of two steps between one and one.
        fanout_widths: How many steps stand between one and one in runs of growing size.
        finished_jobs: Jobs of the history behind which lists, counts and metrics are read.
        admin_rounds: How often each of these is read.
    """

    drain_rounds: int
    drain_jobs: int
    wal_jobs: int
    comparison_rounds: int
    comparison_jobs: int
    transaction_jobs: int
    single_enqueues: int
    large_drain_jobs: int
    two_worker_jobs: int
    latency_samples: int
    half_load_capacity_jobs: int
    half_load_seconds: float
    held_waiting_jobs: int
    held_churned_jobs: int
    held_claims: int
    idle_seconds: float
    memory_jobs: int
    memory_wave_jobs: int
    memory_enqueues: int
    workflow_chains: int
    workflow_fans: int
    workflow_diamonds: int
    fanout_widths: tuple[int, ...]
    finished_jobs: int
    admin_rounds: int


FULL = Sizes(
    drain_rounds=7,
    drain_jobs=20_000,
    wal_jobs=5_000,
    comparison_rounds=5,
    comparison_jobs=20_000,
    transaction_jobs=5_000,
    single_enqueues=20_000,
    large_drain_jobs=200_000,
    two_worker_jobs=100_000,
    latency_samples=1_000,
    half_load_capacity_jobs=20_000,
    half_load_seconds=60,
    held_waiting_jobs=200_000,
    held_churned_jobs=100_000,
    held_claims=1_000,
    idle_seconds=60,
    memory_jobs=1_000_000,
    memory_wave_jobs=20_000,
    memory_enqueues=1_000_000,
    workflow_chains=2_500,
    workflow_fans=10,
    workflow_diamonds=500,
    fanout_widths=(1_000, 10_000, 100_000),
    finished_jobs=10_000_000,
    admin_rounds=25,
)

QUICK = Sizes(
    drain_rounds=3,
    drain_jobs=20_000,
    wal_jobs=5_000,
    comparison_rounds=1,
    comparison_jobs=10_000,
    transaction_jobs=2_000,
    single_enqueues=2_000,
    large_drain_jobs=50_000,
    two_worker_jobs=20_000,
    latency_samples=150,
    half_load_capacity_jobs=5_000,
    half_load_seconds=8,
    held_waiting_jobs=60_000,
    held_churned_jobs=100_000,
    held_claims=200,
    idle_seconds=5,
    memory_jobs=100_000,
    memory_wave_jobs=5_000,
    memory_enqueues=100_000,
    workflow_chains=1_000,
    workflow_fans=4,
    workflow_diamonds=500,
    fanout_widths=(1_000, 10_000, 50_000),
    finished_jobs=100_000,
    admin_rounds=5,
)
"""Every figure that the short run gives, in little more than a minute. What it leaves out is in ``parts``."""
