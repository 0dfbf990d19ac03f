"""The fixture of most tests of operations: a queue that knows one job type."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runledger.testing import EphemeralDatabase
from tests.postgres.job_queue import JobQueue


@pytest.fixture
def queue(runledger_database: EphemeralDatabase) -> Iterator[JobQueue]:
    """An empty queue, in which ``email.send`` is defined: three attempts, thirty seconds, priority 100."""
    job_queue = JobQueue(runledger_database.url)
    job_queue.define()
    yield job_queue
    job_queue.close()
