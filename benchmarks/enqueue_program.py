"""``python -m benchmarks.enqueue_program URL COUNT``: how the memory of a process grows while it enqueues many jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from uuid import UUID

from benchmarks.resident_memory import resident_bytes
from benchmarks.workload import requests
from runledger import EnqueueRequest, SyncLedger
from runledger.postgres.uuid7 import uuid7

_LOOK_EVERY = 500


class _Watch:
    """Knows the most memory that was seen."""

    def __init__(self) -> None:
        self.before = self.most = resident_bytes() or 0

    def look(self) -> None:
        self.most = max(self.most, resident_bytes() or 0)

    @property
    def grown(self) -> int:
        """Bytes more than at the beginning."""
        return self.most - self.before

    def requests(self, count: int) -> Iterator[EnqueueRequest]:
        """Make requests, and look in between."""
        for number, request in enumerate(requests(count)):
            yield request
            if number % _LOOK_EVERY == 0:
                self.look()


def main(url: str, count: int) -> None:
    """Print the bytes by which memory grew, during ``enqueue_many`` and for as many ids alone."""
    with SyncLedger.connect(url) as ledger:
        ledger.enqueue_many(requests(5 * _LOOK_EVERY))
        watch = _Watch()
        ids = ledger.enqueue_many(watch.requests(count))
        watch.look()
        grown = watch.grown
    # The first list stays, so that the second finds no memory that is free already.
    watch = _Watch()
    more_ids: list[UUID] = [uuid7() for _ in ids]
    watch.look()
    print(json.dumps({"jobs": len(more_ids), "enqueue_many": grown, "ids": watch.grown}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
