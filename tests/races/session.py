"""A database session whose next step may wait for another session."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from runledger.postgres import Operation, run_sync
from tests.postgres.job_queue import JobQueue

T = TypeVar("T")

_PATIENCE_SECONDS = 30


class Session:
    """One connection with an open transaction; steps that may wait run in a thread of their own."""

    def __init__(self, connection: psycopg.Connection[Any], thread: Executor) -> None:
        self._connection = connection
        self._thread = thread

    def run(self, operation: Operation[T]) -> T:
        """Run an operation in the open transaction."""
        return run_sync(self._connection, operation)

    def begin(self, operation: Operation[T], queue: JobQueue) -> Future[T]:
        """Start an operation, and return when it waits for a lock."""
        future = self.start(operation, queue)
        assert not future.done(), "it did not have to wait"
        return future

    def start(self, operation: Operation[T], queue: JobQueue) -> Future[T]:
        """Start an operation, and return when it waits for a lock or has ended."""
        return self._start(lambda: self.run(operation), queue)

    def begin_sql(self, queue: JobQueue, statement: str, *parameters: object) -> Future[list[tuple[Any, ...]]]:
        """Start a statement, and return when it waits for a lock."""
        future = self._start(lambda: self.sql(statement, *parameters), queue)
        assert not future.done(), "it did not have to wait"
        return future

    def lock(self, *job_ids: UUID) -> None:
        """Lock rows, as a handler's own transaction or an open cancel does."""
        self._connection.execute(
            "SELECT FROM runledger.job_queue WHERE id = ANY (%s) ORDER BY id FOR UPDATE", [list(job_ids)]
        )

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement in the open transaction."""
        cursor = self._connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description is not None else []

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def _start(self, step: Callable[[], T], queue: JobQueue) -> Future[T]:
        process_id = self._connection.info.backend_pid
        future = self._thread.submit(step)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not future.done():
            if queue.sql("SELECT FROM pg_locks WHERE pid = %s AND NOT granted", process_id):
                break
            assert time.monotonic() < deadline, "it neither waits nor ends"
        return future
