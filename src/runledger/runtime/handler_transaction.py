"""A handler's own transaction, in whose commit its job is finished."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Coroutine
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.core.jobs.handler import JobFailure
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.postgres import DatabaseConnectionError, Operation, QueryError, jobs
from runledger.postgres.drivers.psycopg import AsyncConnection, Connection
from runledger.postgres.drivers.psycopg.handler_transaction import (
    is_waiting_for_answer,
    sync_transaction_ending_with,
    transaction_ending_with,
)
from runledger.postgres.drivers.psycopg.own_connection import shut_down
from runledger.postgres.notices import Notices
from runledger.postgres.sql_errors import COMMIT_UNCONFIRMED, LEASE_LOST
from runledger.runtime.backoff import Backoff
from runledger.runtime.error_judgement import is_systemic
from runledger.runtime.execution import WatchedTransaction
from runledger.runtime.handler_pools import HandlerPools

_LOCK_TIMEOUT = timedelta(seconds=5)
_ANSWER_TIMEOUT_SECONDS = 15.0
_IDLE_TIMEOUT = timedelta(seconds=15)


class Attempt(Protocol):
    """What a transaction must know about the attempt that it finishes; an execution is one."""

    lease: LeaseIdentity
    lease_seconds: float
    is_in_thread: bool
    is_finishing: bool

    @property
    def may_end_by_itself(self) -> bool:
        """Whether what the handler does counts, although it may have been canceled."""
        ...

    def finished(self) -> None:
        """The transaction was committed, and the job is finished."""
        ...

    def lose_lease(self) -> None:
        """The lease was found gone."""
        ...

    def watch(self, transaction: WatchedTransaction | None) -> None:
        """Name the open transaction, or say that there is none any more."""
        ...


class HandlerTransaction:
    """A transaction that writes the handler's rows and the success of its job together.

    Enter it with ``async with`` in an ``async`` handler and with ``with`` in a plain one; it gives a connection of the
    worker's pool. Not made by callers: see :meth:`RunningJobContext.transaction`.
    """

    def __init__(self, attempt: Attempt, pools: HandlerPools) -> None:
        self._attempt = attempt
        self._pools = pools
        self._output_json: str | None = None
        self._is_open = False
        self._loop = asyncio.get_running_loop()
        self._first = threading.Lock()
        self._block: Any = None  # the driver's context manager, of the one kind or the other
        self._connection: AsyncConnection[Any] | Connection[Any] | None = None
        self._is_cut_off = False
        self._cutting_off = threading.Lock()  # while it is held, the connection is not returned to the pool

    def set_output(self, output: JsonEncodable) -> None:
        """See :meth:`RunningJobContext.set_output`."""
        if not self._is_open:
            raise _output_outside()
        self._output_json = encode_json(output, field="output")

    async def __aenter__(self) -> AsyncConnection[Any]:
        """Take a connection and begin."""
        if self._attempt.is_in_thread:
            raise _wrong_form("an async block in a handler that runs in a thread", "with context.transaction()")
        self._enter()
        try:
            self._block = transaction_ending_with(
                await self._pools.for_async(),
                self._success,
                schema=self._pools.database.schema,
                answer_timeout_seconds=_ANSWER_TIMEOUT_SECONDS,
                watch=self._watch,
            )
            connection: AsyncConnection[Any] = await self._block.__aenter__()
        except DatabaseConnectionError as error:
            self._leave_unopened()
            raise _failure(error) from error
        except BaseException:
            self._leave_unopened()
            raise
        self._is_open = True
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Finish the job and commit; after an error roll back."""
        try:
            if error is not None:
                return await self._block.__aexit__(kind, error, traceback)
            await _uninterrupted(self._commit())
        except RunledgerError as failed:
            if failed.code != COMMIT_UNCONFIRMED:
                self._raise_refused(failed)
            # Outside the part that nothing interrupts: who cancels the handler need not wait for the database.
            self._judge(await self._was_committed(), failed)
        finally:
            self._end()

    def __enter__(self) -> Connection[Any]:
        """Take a connection and begin."""
        if not self._attempt.is_in_thread:
            raise _wrong_form("a blocking block in an async handler", "async with context.transaction()")
        self._enter()
        try:
            self._block = sync_transaction_ending_with(
                self._pools.for_threads(), self._success, schema=self._pools.database.schema, watch=self._watch
            )
            connection: Connection[Any] = self._block.__enter__()
        except DatabaseConnectionError as error:
            self._leave_unopened()
            raise _failure(error) from error
        except BaseException:
            self._leave_unopened()
            raise
        self._is_open = True
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Finish the job and commit; after an error roll back."""
        try:
            if error is not None:
                return self._block.__exit__(kind, error, traceback)
            self._block.__exit__(None, None, None)
            self._attempt.finished()
        except RunledgerError as failed:
            if failed.code != COMMIT_UNCONFIRMED:
                self._raise_refused(failed)
            self._judge(self._was_committed_sync(), failed)
        finally:
            self._end()

    @property
    def is_waiting(self) -> bool:
        """Whether the handler waits for the pool or the server."""
        connection = self._connection
        return connection is None or is_waiting_for_answer(connection)

    def cut_off(self) -> None:
        """End the connection; one that the pool still owes is ended when it comes."""
        with self._cutting_off:
            self._is_cut_off = True
            if self._connection is not None:
                shut_down(self._connection)

    def _watch(self, connection: AsyncConnection[Any] | Connection[Any] | None) -> None:
        with self._cutting_off:
            self._connection = connection
            if connection is not None and self._is_cut_off:
                shut_down(connection)

    def _enter(self) -> None:
        # Taken in one step, so that neither tasks nor threads of a handler get past it together. Released only where
        # no block came to be.
        if not self._first.acquire(blocking=False):
            raise InvalidArgumentError(
                "transaction",
                "was begun in this attempt before",
                "do everything in one block; to start over, raise JobFailure.retryable",
            )
        self._attempt.watch(self)  # before the look at the cancellation: one of the two sees the other
        if not self._attempt.may_end_by_itself:
            self._leave_unopened()
            raise asyncio.CancelledError  # nothing could be committed any more

    def _leave_unopened(self) -> None:
        self._end()
        self._first.release()

    async def _commit(self) -> None:
        await self._block.__aexit__(None, None, None)
        self._attempt.finished()

    def _success(self) -> Operation[object]:
        """Return what ends the transaction. Called in it, when the block has ended well."""
        if not self._attempt.may_end_by_itself:
            raise asyncio.CancelledError  # also for a block that swallowed its cancellation, and in a thread
        # From here on the lease may end by our own hand.
        self._attempt.is_finishing = True
        success = jobs.JobSuccess(lease=self._attempt.lease, output_json=self._output_json)
        # COMMIT follows at once, or never.
        return jobs.complete_job(
            success,
            lock_timeout=_LOCK_TIMEOUT,
            idle_timeout=_IDLE_TIMEOUT,
            notices=Notices(is_sent_inside=True),
        )

    def _raise_refused(self, error: RunledgerError) -> None:
        if error.code == LEASE_LOST:
            self._attempt.lose_lease()
            raise error
        if isinstance(error, QueryError | DatabaseConnectionError):
            raise _failure(error) from error
        raise error

    def _judge(self, was_committed: bool | None, unconfirmed: RunledgerError) -> None:  # noqa: FBT001 (an answer)
        if was_committed:
            self._attempt.finished()
        elif was_committed is None:
            # The fence protects a commit that was done from the failure that is written now.
            raise _failure(unconfirmed) from unconfirmed
        else:
            text = "the connection was lost before the transaction was committed"
            raise JobFailure.retryable("db.connection_failed", text) from unconfirmed

    async def _was_committed(self) -> bool | None:
        """Ask the ledger, on a new connection, until it answers; ``None`` when it does not in time."""
        backoff, give_up_at = Backoff(), time.monotonic() + self._attempt.lease_seconds
        connection = self._pools.database.own_connection(answer_timeout_seconds=_ANSWER_TIMEOUT_SECONDS)
        try:
            while True:
                try:
                    outcome = await connection.run(self._confirmation())
                except RunledgerError:
                    if time.monotonic() >= give_up_at:
                        return None
                    await asyncio.sleep(backoff.failed())
                else:
                    return outcome is not None and outcome.failure_kind is None
        finally:
            await connection.close()

    def _was_committed_sync(self) -> bool | None:
        # In the event loop, where silence of the server has a bound.
        asking = self._was_committed()
        try:
            return asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        except RuntimeError:  # the event loop is closed: the worker has gone, and nobody waits for the outcome
            asking.close()
            return None
        except concurrent.futures.CancelledError:
            return None

    def _confirmation(self) -> Operation[jobs.AttemptOutcome | None]:
        return jobs.confirm_attempt_outcome(self._attempt.lease, lock_timeout=_LOCK_TIMEOUT)

    def _end(self) -> None:
        self._is_open = False
        self._attempt.is_finishing = False
        self._attempt.watch(None)


async def _uninterrupted(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to the end, and only then let a cancellation through: a COMMIT on its way cannot be taken back."""
    task = asyncio.create_task(coroutine)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        raise interruption from (None if task.cancelled() else task.exception())
    task.result()


def _failure(error: RunledgerError) -> JobFailure:
    """Return the failure of an attempt whose transaction could not be had or was not committed."""
    if isinstance(error, QueryError) and not is_systemic(error):
        return JobFailure.terminal(error.code, error.client_message)
    return JobFailure.retryable(error.code, str(error))


def _wrong_form(problem: str, remedy: str) -> InvalidArgumentError:
    return InvalidArgumentError("transaction", f"is entered with {problem}", f"write `{remedy}`")


def _output_outside() -> InvalidArgumentError:
    return InvalidArgumentError(
        "output", "is set outside of the transaction", "set it inside the block, or return it where there is none"
    )
