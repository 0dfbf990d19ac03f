"""The reaper: returns expired leases to the queue, or dead-letters jobs that have no attempt left."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from runledger.core.errors import RunledgerError, UndecodableJsonError
from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo, JobFailure
from runledger.core.jobs.status import JobDeadLetterReason
from runledger.postgres import Database, jobs
from runledger.runtime.argument_checks import check_database, check_registry
from runledger.runtime.backoff import Backoff
from runledger.runtime.config import JobsConfig
from runledger.runtime.dead_letter_hooks import DeadLetterHooks
from runledger.runtime.registry import JobRegistry
from runledger.runtime.wait import WakeableWait

_logger = logging.getLogger("runledger.reaper")

_WORKER_ID = "reaper"
_PASS_GRACE_SECONDS = 5.0
_ANSWER_TIMEOUT_SECONDS = 60.0


class Reaper:
    """Takes leases away from workers that died. Several may run: each row is locked by one of them.

    Args:
        database: Where the jobs are.
        registry: Handlers, for their dead-letter hooks.
        config: Settings.
    """

    def __init__(self, database: Database, registry: JobRegistry, config: JobsConfig) -> None:
        check_database(database)
        check_registry(registry)
        config.validate()
        self._config = config
        self._connection = database.own_connection(answer_timeout_seconds=_ANSWER_TIMEOUT_SECONDS)
        self._hooks = DeadLetterHooks(registry)
        self._wait = WakeableWait()
        self._is_stopping = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and begin.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
        """
        await self._connection.open()
        self._loop = asyncio.create_task(self._reap_until_stopped())

    def wake(self) -> None:
        """Look for expired leases now."""
        self._wait.wake()

    async def stop(self) -> None:
        """Stop after the transaction in flight, if it ends soon; hooks get a moment, then they are canceled."""
        self._is_stopping = True
        self._wait.wake()
        if self._loop is not None:
            _, pending = await asyncio.wait([self._loop], timeout=_PASS_GRACE_SECONDS)
            if pending:
                self._loop.cancel()
                await asyncio.wait(pending)
        await self._hooks.stop()
        await self._connection.close()

    async def run_once(self, *, now: datetime | None = None) -> int:
        """Reap until no expired lease is left, and return how many were taken away.

        Args:
            now: Instant to use instead of the database's clock, for tests.
        """
        processed_count = 0
        while True:
            result = await self._connection.run(
                jobs.reap_expired_leases(
                    limit=self._config.reaper_batch_size, retry_delay=self._config.reaper_retry_delay, now=now
                )
            )
            processed_count += result.processed_count
            for job_id in result.deferred_job_ids:
                _logger.error("reaper.job_deferred", extra={"job_id": str(job_id)})
            for job_id in result.stuck_job_ids:
                _logger.error("reaper.job_stuck", extra={"job_id": str(job_id)})
            for dead_letter in result.dead_letters:
                self._call_hook(dead_letter)
            # A full batch of which nothing was taken away would be found again at once: it waits for the next pass.
            if not result.is_full or self._is_stopping or not result.processed_count:
                return processed_count

    async def finish_hooks(self) -> None:
        """Wait until no hook is left."""
        await self._hooks.finish()

    async def _reap_until_stopped(self) -> None:
        backoff = Backoff()
        while not self._is_stopping:
            seconds = self._config.reaper_interval.total_seconds()
            try:
                processed_count = await self.run_once()
            except RunledgerError as error:
                if backoff.is_first:
                    _logger.warning("reaper.pass_failed", extra={"code": error.code})
                seconds = min(seconds, backoff.failed())
            except Exception:
                _logger.exception("reaper.pass_crashed")
                seconds = min(seconds, backoff.failed())
            else:
                backoff.succeeded()
                if processed_count:
                    _logger.warning("reaper.leases_expired", extra={"job_count": processed_count})
            await self._wait.wait(seconds)

    def _call_hook(self, dead_letter: jobs.ReapedDeadLetter) -> None:
        try:
            payload = dead_letter.payload
        except UndecodableJsonError:
            return  # the hook could not be given what no handler could be given
        context = JobContext(
            job_id=dead_letter.job_id,
            job_type=dead_letter.job_type,
            run_number=dead_letter.run_number,
            attempt=dead_letter.attempt,
            max_attempts=dead_letter.max_attempts,
            organization_id=dead_letter.organization_id,
            worker_id=_WORKER_ID,
        )
        failure = JobFailure.lease_expired("job.lease_expired", "the lease expired before the job was completed")
        info = JobDeadLetterInfo(failure=failure, reason=JobDeadLetterReason.LEASE_EXPIRED)
        self._hooks.call_soon(context, payload, info)
