"""``python -m benchmarks.load_program URL JOBS_PER_SECOND``: a producer that keeps a pace until its input ends."""

from __future__ import annotations

import select
import sys
import time

from benchmarks.workload import requests
from runledger import SyncLedger

_BATCHES_PER_S = 50


def main(url: str, jobs_per_s: float) -> None:
    """Enqueue a batch every 20 ms. One that comes late takes what it missed along."""
    with SyncLedger.connect(url) as ledger:
        started_at = time.monotonic()
        enqueued = 0
        while not select.select([sys.stdin], [], [], 1 / _BATCHES_PER_S)[0]:
            wanted = int((time.monotonic() - started_at) * jobs_per_s) - enqueued
            ledger.enqueue_many(requests(wanted))
            enqueued += wanted


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
