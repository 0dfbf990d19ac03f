"""Fixtures of tests of workflows: a queue that can enqueue and drive runs, and sessions that hold locks besides it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from runledger.testing import EphemeralDatabase
from tests.postgres.workflow_queue import WorkflowQueue
from tests.races.session import Session


@pytest.fixture
def queue(runledger_database: EphemeralDatabase) -> Iterator[WorkflowQueue]:
    """An empty queue, in which ``email.send`` is defined: three attempts, thirty seconds, priority 100."""
    workflow_queue = WorkflowQueue(runledger_database.url)
    workflow_queue.define()
    yield workflow_queue
    workflow_queue.close()


@pytest.fixture
def first(queue: WorkflowQueue) -> Iterator[Session]:
    """A session with an open transaction."""
    with ThreadPoolExecutor(1) as thread, psycopg.connect(queue.url) as connection:
        yield Session(connection, thread)
        connection.rollback()


@pytest.fixture
def second(queue: WorkflowQueue) -> Iterator[Session]:
    """Another session with an open transaction."""
    with ThreadPoolExecutor(1) as thread, psycopg.connect(queue.url) as connection:
        yield Session(connection, thread)
        connection.rollback()
