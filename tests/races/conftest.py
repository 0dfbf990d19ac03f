"""A queue, and sessions besides it that hold locks or wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from runledger.testing import EphemeralDatabase
from tests.postgres.job_queue import JobQueue
from tests.races.session import Session


@pytest.fixture
def queue(runledger_database: EphemeralDatabase) -> Iterator[JobQueue]:
    """An empty queue, in which ``email.send`` is defined."""
    job_queue = JobQueue(runledger_database.url)
    job_queue.define()
    yield job_queue
    job_queue.close()


@pytest.fixture
def first(queue: JobQueue) -> Iterator[Session]:
    """A session with an open transaction."""
    with ThreadPoolExecutor(1) as thread, psycopg.connect(queue.url) as connection:
        yield Session(connection, thread)
        connection.rollback()


@pytest.fixture
def second(queue: JobQueue) -> Iterator[Session]:
    """Another session with an open transaction."""
    with ThreadPoolExecutor(1) as thread, psycopg.connect(queue.url) as connection:
        yield Session(connection, thread)
        connection.rollback()
