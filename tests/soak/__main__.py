"""``python -m tests.soak [--minutes N] [--jobs N] [--workers N] [--seed N]``: work through one fault after the other.

Producers enqueue, worker processes work, and all the while processes are killed and stand still, connections break or
fall silent, and the server is stopped and started. At the end everything is done, and every job that was executed more
than once has its reason in the ledger; if not, the exit code is 1. The seed is printed, and brings the same faults.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter

from runledger import EnqueueRequest, JobDefinition, Ledger
from runledger.core.errors import RunledgerError
from tests.outages.explanation import Explanation, explain_reruns
from tests.outages.jobs import KINDS, observing
from tests.outages.server import OutageServer, made_data_dir, outage_server
from tests.soak.faults import LEASE_TTL, Faults, Place
from tests.wire import wire_to

_BATCH = 250
_KINDS = (*KINDS * 8, "slow")
_END_SECONDS = 300
_GIVEN_UP = """
SELECT id, job_type, attempt, last_error_code, last_error_message FROM runledger.job_queue
 WHERE status IN ('DEAD_LETTERED', 'CANCELED') LIMIT 10
"""
# The last jobs come a little before the last faults.
_PRODUCING = 0.9


def main() -> None:
    """Parse the arguments, run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults are brought (default: 5)")
    parser.add_argument("--jobs", type=int, default=100_000, help="how many are enqueued meanwhile (default: 100000)")
    parser.add_argument("--workers", type=int, default=3, help="worker processes (default: 3)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--races", type=int, metavar="ROUNDS", help="run the races of workflows instead of faults")
    arguments = parser.parse_args()
    if arguments.races is not None:
        sys.exit(_race(arguments.races, seed=arguments.seed))
    print(f"seed {arguments.seed}: {arguments.jobs} jobs, {arguments.workers} workers, {arguments.minutes:g} minutes")
    sys.stdout.flush()
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # the producer's: its server is away now and then
    with made_data_dir() as made, outage_server(made) as server:
        asyncio.run(soak(server, arguments))


def _race(rounds: int, *, seed: int) -> int:
    """Run the races of the ordinary suite for longer, and return the exit code."""
    # A race of many rounds takes longer than a test may otherwise.
    pytest = [sys.executable, "-m", "pytest", "-n", "2", "--override-ini=faulthandler_timeout=0"]
    environment = {**os.environ, "RUNLEDGER_RACE_ROUNDS": str(rounds)}
    command = [*pytest, f"--randomly-seed={seed}", "tests/races/test_workflow_races.py"]
    return subprocess.run(command, env=environment, check=False).returncode


async def soak(server: OutageServer, arguments: argparse.Namespace) -> None:
    """Run everything, print what happened, and raise an AssertionError if something is wrong."""
    started_at = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        places: list[Place] = []
        for number in range(arguments.workers):
            wire = await stack.enter_async_context(wire_to(server.url))
            places.append(Place(number, wire, stack))
            await places[-1].start()
        faults = Faults(server, places, seed=arguments.seed)
        seconds = arguments.minutes * 60
        producing = asyncio.create_task(_produce(server.url, arguments.jobs, seconds=seconds * _PRODUCING))
        try:
            while time.monotonic() - started_at < seconds:
                await faults.bring()
            await producing
            fault_seconds = time.monotonic() - started_at
            await _until_done(server.url, arguments.jobs)
        finally:
            producing.cancel()
        for place in places:
            await place.worker.stop()
            place.check_quiet()
    async with observing(server.url) as observer:
        explanation = await explain_reruns(observer, lease_ttl=LEASE_TTL)
    assert explanation.job_count == arguments.jobs
    _report(faults, explanation, fault_seconds=fault_seconds, seconds=time.monotonic() - started_at)


async def _produce(url: str, count: int, *, seconds: float) -> None:
    """Enqueue evenly over the time. A batch that failed is enqueued again: its keys keep it from coming twice."""
    started_at = time.monotonic()
    async with await Ledger.connect(url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type=kind, max_attempts=50) for kind in set(_KINDS)])
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            requests = [
                EnqueueRequest(_KINDS[number % len(_KINDS)], number, idempotency_key=str(number)) for number in numbers
            ]
            while True:
                try:
                    await ledger.enqueue_many(requests)
                except RunledgerError:
                    await asyncio.sleep(0.1)
                else:
                    break
            await asyncio.sleep(max(0.0, started_at + seconds * numbers.stop / count - time.monotonic()))


async def _until_done(url: str, count: int) -> None:
    async with asyncio.timeout(_END_SECONDS), observing(url) as observer:
        query = "SELECT count(*) FROM runledger.job_queue WHERE status = 'SUCCEEDED'"
        while (done := await observer.value(query)) < count:
            given_up = await observer.rows(_GIVEN_UP)
            assert given_up == [], given_up
            print(f"{count - done} jobs to go")
            await asyncio.sleep(2)


def _report(faults: Faults, explanation: Explanation, *, fault_seconds: float, seconds: float) -> None:
    print(f"{seconds:.0f} seconds, {fault_seconds:.0f} of them with faults")
    _print_counts("faults", faults.counts)
    print(f"jobs                 {explanation.job_count}")
    print(f"effects              {explanation.effect_count}")
    print(f"claims given back    {explanation.returned_count}")
    _print_counts("attempts without success", explanation.failed_attempts)
    _print_counts("effects that were repeated", explanation.reruns)


def _print_counts(title: str, counts: Counter[str]) -> None:
    print(f"{title}: {counts.total()}")
    for name, count in sorted(counts.items()):
        print(f"  {name:<36} {count}")


if __name__ == "__main__":
    main()
