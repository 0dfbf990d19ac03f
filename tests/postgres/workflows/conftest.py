"""The fixture of tests of workflows: a queue that can enqueue and drive runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runledger.testing import EphemeralDatabase
from tests.postgres.workflow_queue import WorkflowQueue


@pytest.fixture
def queue(runledger_database: EphemeralDatabase) -> Iterator[WorkflowQueue]:
    """An empty queue, in which ``email.send`` is defined: three attempts, thirty seconds, priority 100."""
    workflow_queue = WorkflowQueue(runledger_database.url)
    workflow_queue.define()
    yield workflow_queue
    workflow_queue.close()
