"""The scheduler: makes the jobs of schedules when they are due."""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import datetime, timedelta

from runledger.core.errors import RunledgerError
from runledger.postgres import Database, schedules
from runledger.postgres.notices import send_notices
from runledger.runtime.argument_checks import check_config, database_of
from runledger.runtime.backoff import Backoff
from runledger.runtime.config import JobsConfig
from runledger.runtime.wait import WakeableWait

_logger = logging.getLogger("runledger.scheduler")

_PASS_GRACE_SECONDS = 5.0
_ANSWER_TIMEOUT_SECONDS = 60.0
# For a catch-up of `skip` a due time is on time as long as a scheduler may come by it in the ordinary course: a poll
# late, after a restart, or when it tries again what could not fire.
_SHORTEST_GRACE = timedelta(minutes=1)
# Somebody else has locked what is due; whoever it is will soon be done with it.
_LOCKED_SECONDS = 1.0


class Scheduler:
    """Makes the jobs of schedules when they are due.

    Several may run: each due time is fired by exactly one of them. A scheduler sleeps until the next
    schedule is due, by the clock of the database, and looks at least every ``schedule_poll_interval``, since schedules
    may be changed meanwhile.

    Args:
        database: The database that holds the schedules, or its URL.
        config: The settings.
    """

    def __init__(self, database: Database | str, config: JobsConfig) -> None:
        check_config(config)
        config.validate()
        self._config = config
        self._connection = database_of(database).own_connection(answer_timeout_seconds=_ANSWER_TIMEOUT_SECONDS)
        self._grace = max(_SHORTEST_GRACE, 2 * config.schedule_poll_interval)
        self._backoff = Backoff()
        self._wait = WakeableWait()
        self._is_stopping = False
        self._was_due = False
        self._loop: asyncio.Task[None] | None = None

    @property
    def is_live(self) -> bool:
        """Whether its loop runs. May be read in any thread."""
        return self._loop is not None and not self._loop.done()

    @property
    def is_ready(self) -> bool:
        """Whether it is live, not stopping, and its last pass reached the database. May be read in any thread."""
        return self.is_live and not self._is_stopping and self._backoff.is_first

    async def start(self) -> None:
        """Connect and begin.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        await self._connection.open()
        if self._is_stopping:  # meanwhile
            await self._connection.close()
            return
        self._loop = asyncio.create_task(self._schedule_until_stopped())

    def wake(self) -> None:
        """Look for due schedules now."""
        self._wait.wake()

    async def stop(self) -> None:
        """Stop after the transaction in flight, if it ends soon."""
        self._is_stopping = True
        self._wait.wake()
        if self._loop is not None:
            _, pending = await asyncio.wait([self._loop], timeout=_PASS_GRACE_SECONDS)
            if pending:
                self._loop.cancel()
                await asyncio.wait(pending)
        await self._connection.close()

    async def run_once(self, *, now: datetime | None = None) -> int:
        """Fire schedules until none is due, and return how many jobs were made.

        Args:
            now: Instant to use instead of the database's clock, for tests.
        """
        job_count, _ = await self._fire_all(now)
        return job_count

    async def _fire_all(self, now: datetime | None) -> tuple[int, int]:
        """Fire until none is due, and return how many jobs were made and how many schedules moved on."""
        job_count = moved_count = 0
        while True:
            result = await self._connection.run(
                schedules.fire_due_schedules(limit=self._config.scheduler_batch_size, grace=self._grace, now=now)
            )
            batch_count = len(result.fired) + len(result.deferred)
            job_count += result.job_count
            moved_count += batch_count
            _log(result)
            await self._tell_workers(result.notices)
            # A full batch of which nothing could be moved would be found again at once: it waits for the next pass.
            if not result.is_full or self._is_stopping or not batch_count:
                return job_count, moved_count

    async def until_ended(self) -> None:
        """Wait until the scheduler ends, and raise what ended it if that was not a stop."""
        if self._loop is not None:
            await asyncio.wait([self._loop])
            if not self._loop.cancelled():
                self._loop.result()

    async def _schedule_until_stopped(self) -> None:
        backoff = self._backoff
        while not self._is_stopping:
            seconds = self._config.schedule_poll_interval.total_seconds()
            try:
                _, moved_count = await self._fire_all(None)
                seconds = min(seconds, await self._seconds_to_next_fire(moved_count))
            except RunledgerError as error:
                if backoff.is_first:
                    _logger.warning("scheduler.pass_failed", extra={"code": error.code})
                seconds = min(seconds, backoff.failed())
            except Exception:
                _logger.exception("scheduler.pass_crashed")
                seconds = min(seconds, backoff.failed())
            else:
                if not backoff.is_first:
                    _logger.info("scheduler.pass_recovered")
                backoff.succeeded()
            await self._wait.wait(seconds)

    async def _seconds_to_next_fire(self, moved_count: int) -> float:
        due_in = await self._connection.run(schedules.read_next_fire())
        if due_in is None:
            self._was_due = False
            return math.inf
        if due_in > timedelta():
            self._was_due = False
            return due_in.total_seconds()
        # It has become due since the pass, or the pass could not have it; the latter if that comes twice.
        is_locked = self._was_due and not moved_count
        self._was_due = True
        return _LOCKED_SECONDS if is_locked else 0.0

    async def _tell_workers(self, notices: tuple[str, ...]) -> None:
        if notices:
            # After the commit, so that nobody is told of what may be rolled back, and in a transaction of its own that
            # waits for no disk. What is lost is found at the next poll.
            await self._connection.run(send_notices(notices))


def _log(result: schedules.FireResult) -> None:
    for fired in result.fired:
        facts = {"schedule_id": str(fired.schedule_id), "schedule_name": fired.name}
        if fired.left_out is not None:
            _logger.info("scheduler.due_times_left_out", extra=facts | {"reason": fired.left_out})
        if fired.was_deferred:
            _logger.info("scheduler.schedule_recovered", extra=facts)
        if fired.ends:
            _logger.warning("scheduler.schedule_ended", extra=facts)
    for deferred in result.deferred:
        # Once: it would be said every half minute until somebody repairs the schedule.
        if not deferred.was_deferred:
            _logger.error(
                "scheduler.schedule_deferred",
                extra={
                    "schedule_id": str(deferred.schedule_id),
                    "schedule_name": deferred.name,
                    "code": deferred.code,
                },
            )
    for schedule_id in result.stuck_schedule_ids:
        _logger.error("scheduler.schedule_stuck", extra={"schedule_id": str(schedule_id)})
