"""Write outcomes: batched without a timer, and retried while the lease lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from runledger.core.jobs.handler import JobFailure
from runledger.postgres import Database, DatabaseConnectionError
from runledger.postgres.notices import Notices
from runledger.postgres.sql_errors import LEASE_LOST
from runledger.runtime.backoff import Backoff
from runledger.runtime.clock import answer_timeout
from runledger.runtime.execution import Execution
from runledger.runtime.lifecycle import LifecycleEventKind
from runledger.runtime.outcome import Dropped, Finished, Outcome
from runledger.runtime.outcome_line import OutcomeLine
from runledger.runtime.outcome_places import OutcomePlaces
from runledger.runtime.outcome_settler import OutcomeSettler
from runledger.runtime.outcome_writer import LOCK_TIMEOUT, OutcomeWriter
from runledger.runtime.unwritten_outcome import Unwritten
from runledger.runtime.write_trouble import WriteTrouble

_WRITERS = 2
_HELD_PAUSE_SECONDS = 0.1
_LARGE_RELEASE_TIMEOUT = timedelta(minutes=5)


class Completer:
    """Takes outcomes and has them written.

    While a write is in flight the next outcomes gather; when idle an outcome is written at once. At most two batches
    are in flight. What cannot be written with others holds up nobody: it goes on in one of the other places, and each
    of these has a writer of its own.

    Args:
        database: The database to write to.
        worker_id: The worker that holds the leases.
        lease_ttl: Their time to live. A write without an answer for so long is given up with its connection.
        on_settled: Called for each execution when nothing is left to write, with what happened and the code of the
            failure, or of what kept it from being written.
        on_dead_letter: Called after the commit for each failure that became a dead letter.
        on_advanced: Called after the commit with what the ends of workflow steps have to tell.
        on_relief: Called when :attr:`burden` has become less, though nothing was settled.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        lease_ttl: timedelta,
        on_settled: Callable[[Execution, LifecycleEventKind, str | None], None],
        on_dead_letter: Callable[[Execution, JobFailure], None],
        on_advanced: Callable[[Notices], None],
        on_relief: Callable[[], None],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._answer_timeout = answer_timeout(lease_ttl)
        self._on_advanced = on_advanced
        self._trouble = WriteTrouble(worker_id)
        self._settler = OutcomeSettler(
            worker_id, silence=self._answer_timeout, on_settled=on_settled, on_dead_letter=on_dead_letter
        )
        self._places = OutcomePlaces(
            _WRITERS,
            single_timeout=self._answer_timeout + LOCK_TIMEOUT,
            large_release_timeout=self._answer_timeout + _LARGE_RELEASE_TIMEOUT,
            on_held=on_relief,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def unwritten_count(self) -> int:
        """Outcomes that are not in the ledger yet."""
        return self._settler.count

    @property
    def burden(self) -> int:
        """Those of them that count when a worker looks whether it may claim: held ones do not, unless they are many."""
        return self._settler.count - self._places.held.uncounted

    async def start(self) -> None:
        """Begin to write."""
        self._tasks = [
            *(asyncio.create_task(self._write_batches(number)) for number in range(_WRITERS)),
            asyncio.create_task(self._write_held()),
            asyncio.create_task(self._write_line(self._places.singles)),
            asyncio.create_task(self._write_line(self._places.large_releases)),
        ]

    def submit(self, execution: Execution, outcome: Outcome) -> None:
        """Take the outcome of an execution."""
        if isinstance(outcome, Finished):
            self._settler.finished(execution)
        elif isinstance(outcome, Dropped) and outcome.code != LEASE_LOST:
            self._settler.dropped(execution, outcome.code)
        else:  # also of a lost lease: the job may have been canceled, and who found it lost does not know
            self._settler.expect()
            self._places.add(Unwritten(execution, outcome))

    async def drain(self) -> None:
        """Wait until every outcome is settled."""
        await self._settler.until_empty()

    async def stop(self) -> None:
        """Stop writing. Call :meth:`drain` first; what is unwritten then is left to the reaper."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _write_batches(self, number: int) -> None:
        writer = self._writer(self._answer_timeout)
        try:
            while True:
                await self._write_until_settled(writer, await self._places.queue.take(number))
        finally:
            await writer.close()

    async def _write_until_settled(self, writer: OutcomeWriter, batch: list[Unwritten]) -> None:
        backoff = Backoff()
        parts = [batch]
        while parts:
            failed = await self._write_parts(writer, parts)
            parts = [part for part in map(self._settler.still_to_write, failed) if part]
            if parts:
                await asyncio.sleep(backoff.failed())

    async def _write_parts(self, writer: OutcomeWriter, parts: list[list[Unwritten]]) -> list[list[Unwritten]]:
        """Write each part and return what to try next time. What failed is halved, until each item stands alone."""
        again: list[list[Unwritten]] = []
        for position, part in enumerate(parts):
            try:
                await writer.write(part)
            except Exception as error:  # noqa: BLE001 (logged; a writer must not end, or outcomes pile up unseen)
                self._trouble.failed(error, len(part))
                if isinstance(error, DatabaseConnectionError):
                    return [*again, *parts[position:]]
                again += self._places.halve(part)
            else:
                self._trouble.written(self._settler.count)
        return again

    async def _write_held(self) -> None:
        """Try what is held again and again: all of it without waiting, then one group in turn, waiting for its lock.

        So no group waits for the lock of another, and each waits in the queue of its own lock now and then, where it
        has its turn also when many others want it.
        """
        held = self._places.held
        writer = self._writer(self._answer_timeout)
        backoff = Backoff()
        try:
            while True:
                await held.until_filled()
                try:
                    for batch in held.batches():
                        await writer.write(batch, run_wait=timedelta())
                    held.let_go_settled()
                    if held.count:
                        await self._write_next_group(writer)
                except Exception as error:  # noqa: BLE001 (logged; the writer must not end)
                    self._trouble.failed(error, held.count)
                    self._settler.still_to_write(item for batch in held.batches() for item in batch)
                    await asyncio.sleep(backoff.failed())
                else:
                    backoff.succeeded()
                    self._trouble.written(self._settler.count)
                    await asyncio.sleep(_HELD_PAUSE_SECONDS)
                held.let_go_settled()
                self._trouble.held(held)
        finally:
            await writer.close()

    async def _write_next_group(self, writer: OutcomeWriter) -> None:
        first, *others = self._places.held.next_group()
        if first.is_plain:
            await writer.write_single(first)
        else:
            # Successes and failures are written one after the other, and would wait for the run twice.
            alike = [item for item in others if type(item.outcome) is type(first.outcome)]
            await writer.write([first, *alike], run_wait=LOCK_TIMEOUT)

    async def _write_line(self, line: OutcomeLine) -> None:
        writer = self._writer(line.answer_timeout)
        backoff = Backoff()
        try:
            while True:
                item = await line.next()
                try:
                    await writer.write_single(item)
                except Exception as error:  # noqa: BLE001 (logged; the writer must not end)
                    self._trouble.failed(error, 1)
                    line.add(item)
                    # Those that nobody told anything about for so long are given up: their turn may be far away.
                    line.keep(self._settler.still_to_write(line.items))
                    await asyncio.sleep(backoff.failed())
                else:
                    backoff.succeeded()
                    self._trouble.written(self._settler.count)
        finally:
            await writer.close()

    def _writer(self, timeout: timedelta) -> OutcomeWriter:
        return OutcomeWriter(
            self._database.own_connection(answer_timeout_seconds=timeout.total_seconds()),
            worker_id=self._worker_id,
            places=self._places,
            settler=self._settler,
            on_advanced=self._on_advanced,
        )
