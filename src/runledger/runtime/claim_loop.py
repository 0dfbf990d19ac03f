"""The loop that claims: while there is room, at once after a full claim, else when woken or after the poll interval."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta

from runledger.core.errors import RunledgerError
from runledger.runtime.backoff import Backoff
from runledger.runtime.claimer import Claim, Claimer
from runledger.runtime.clock import monotonic
from runledger.runtime.slots import ClaimTurns, Turn, TypeLimits
from runledger.runtime.wait import Eagerness, WakeableWait
from runledger.runtime.worker_log import WorkerLog

_GRACE_SECONDS = 5.0


class ClaimLoop:
    """Claims for a worker, one claim after the other.

    Args:
        claimer: Makes the claims.
        turns: Tells what each claim asks for.
        limits: Counts what came, of the types that have a limit.
        batch_size: Jobs that one claim asks for at most.
        poll_interval: Wait after a claim that found less than it asked for.
        lease_ttl: How long a lease lasts. What a claim brings after two thirds of that is given back.
        capacity: Tells how many more jobs may begin.
        begin: Takes what came.
        worker_id: The worker that claims, for the log.
    """

    def __init__(
        self,
        claimer: Claimer,
        turns: ClaimTurns,
        limits: TypeLimits,
        *,
        batch_size: int,
        poll_interval: timedelta,
        lease_ttl: timedelta,
        capacity: Callable[[], int],
        begin: Callable[[Claim], None],
        worker_id: str,
    ) -> None:
        self._logger = WorkerLog("worker", worker_id)
        self._claimer = claimer
        self._turns = turns
        self._limits = limits
        self._batch_size = batch_size
        self._poll_seconds = poll_interval.total_seconds()
        self._latest_answer_seconds = lease_ttl.total_seconds() * 2 / 3
        self._capacity = capacity
        self._begin = begin
        self._not_begun_count = 0
        self._is_stopping = False
        self._is_given_up = False
        self._has_claimed = False
        self._has_work = WakeableWait()
        self._pause = WakeableWait()
        self._eagerness = Eagerness()
        self._has_room = WakeableWait()
        self._backoff = Backoff()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ending(self) -> bool:
        """Whether it was stopped, or ends because the event loop does."""
        task = self._task
        return self._is_stopping or (task is not None and (task.done() or task.cancelling() > 0))

    @property
    def is_running(self) -> bool:
        """Whether its task runs. May be read in any thread."""
        return self._task is not None and not self._task.done()

    @property
    def is_claiming(self) -> bool:
        """Whether its last claim came back well. May be read in any thread."""
        return self._has_claimed and self._backoff.is_first

    def start(self) -> None:
        """Begin to claim."""
        self._task = asyncio.create_task(self._claim_until_stopped())

    def wake(self, due_at: datetime | None = None) -> None:
        """Claim now; see :meth:`Worker.wake`."""
        self._claimer.expect(due_at)
        self._has_work.wake()

    def has_room(self) -> None:
        """Look at the capacity again: it may have grown."""
        self._has_room.wake()

    def type_has_room(self) -> None:
        """Claim again: a type had reached its limit, and was left out."""
        self._has_work.wake()

    async def run_once(self) -> int:
        """Claim once, looking at everything that is due, and return how many jobs that brought."""
        while (turn := self._turns.next(self._limit())) is not None:
            claim = await self._claim(turn, is_sweep=True)
            self._begin(claim)
            is_done = self._turns.answered(turn, is_short=_is_short(claim, turn))
            if claim.jobs or is_done:
                return len(claim.jobs)
        return 0

    def give_up(self) -> None:
        """Claim no more, without being told to stop. What a claim in flight brings may begin."""
        self._is_given_up = True
        for wait in (self._has_work, self._pause, self._has_room):
            wait.wake()

    async def until_ended(self) -> None:
        """Wait until it claims no more, and raise what ended it if that was a defect."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def stop(self) -> None:
        """Claim no more. A claim in flight is waited for, and what it brings is given back.

        A database that does not answer within seconds cannot hold up the end of the process.
        """
        self._is_stopping = True
        for wait in (self._has_work, self._pause, self._has_room):
            wait.wake()
        if self._task is not None:
            _, pending = await asyncio.wait([self._task], timeout=_GRACE_SECONDS)
            if pending:
                self._task.cancel()
                await asyncio.wait(pending)

    async def _claim_until_stopped(self) -> None:
        is_woken = False
        while not self._is_over:
            turn = self._turns.next(self._limit())
            if turn is None:
                await self._has_room.wait()
                continue
            # What was there when a wake-up came is seen by a claim that begins after it.
            if self._has_work.clear():
                self._turns.woken()
            try:
                claim = await self._claim(turn)
            except RunledgerError as error:
                if self._backoff.is_first:
                    self._logger.warning("worker.claim_failed", extra={"code": error.code})
                await self._pause.wait(self._backoff.failed())
                continue
            except Exception:
                # A defect of ours must not end the loop while the process looks alive.
                self._logger.exception("worker.claim_crashed")
                await self._pause.wait(self._backoff.failed())
                continue
            if not self._backoff.is_first:
                self._logger.info("worker.claim_recovered")
                self._backoff.succeeded()
            self._has_claimed = True
            self._begin_soon(claim)
            self._eagerness.claimed(len(claim.jobs), is_woken=is_woken)
            is_woken = False
            if self._turns.answered(turn, is_short=_is_short(claim, turn)) and not self._is_over:
                is_woken = await self._wait_for_work()

    async def _wait_for_work(self) -> bool:
        """Wait for a wake-up or the next poll, and tell whether it was a wake-up."""
        if not await self._has_work.wait(self._poll_seconds):
            return False
        if self._eagerness.pause_seconds:
            await self._pause.wait(self._eagerness.pause_seconds)
        return True

    def _limit(self) -> int:
        """How many jobs to ask for: what there is room for, besides those that came and have not begun yet."""
        return max(0, min(self._batch_size, self._capacity() - self._not_begun_count))

    @property
    def _is_over(self) -> bool:
        return self._is_stopping or self._is_given_up

    async def _claim(self, turn: Turn, *, is_sweep: bool = False) -> Claim:
        """Claim. What must not begin any more is given back."""
        claim = await self._claimer.claim(turn.limit, turn.job_types, is_sweep=is_sweep)
        reason = None
        if self._is_stopping:
            reason = "WORKER_SHUTDOWN"
        elif monotonic() - claim.asked_at > self._latest_answer_seconds:
            # The answer was long in coming. The leases may end before the next renewal.
            reason = "CLAIM_ANSWER_LATE"
        if reason is None:
            self._limits.take(claim.jobs)  # now: the next claim may be sent before these begin
            return claim
        await self._claimer.give_back(claim, reason=reason)
        return dataclasses.replace(claim, jobs=[], is_cut=False)

    def _begin_soon(self, claim: Claim) -> None:
        """Begin what came, when the next claim has been sent: so the server works on it while these handlers run."""
        self._not_begun_count += len(claim.jobs)
        asyncio.get_running_loop().call_soon(self._begin_now, claim)

    def _begin_now(self, claim: Claim) -> None:
        self._not_begun_count -= len(claim.jobs)
        self._begin(claim)


def _is_short(claim: Claim, turn: Turn) -> bool:
    return len(claim.jobs) < turn.limit and not claim.is_cut
