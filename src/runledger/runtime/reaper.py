"""The reaper: returns expired leases to the queue, or dead-letters jobs that have no attempt left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from runledger.core.errors import RunledgerError, UndecodableJsonError
from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo, JobFailure
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.status import JobDeadLetterReason
from runledger.postgres import Database, jobs, workers
from runledger.postgres.notices import Notices, send_notices
from runledger.runtime.argument_checks import check_config, check_registry, database_of
from runledger.runtime.backoff import Backoff
from runledger.runtime.config import JobsConfig
from runledger.runtime.dead_letter_hooks import DeadLetterHooks
from runledger.runtime.lifecycle import LifecycleEvent, LifecycleEventKind
from runledger.runtime.observer_feed import ObserverFeed
from runledger.runtime.registry import JobRegistry
from runledger.runtime.wait import WakeableWait

_logger = logging.getLogger("runledger.reaper")

_WORKER_ID = "reaper"
_PASS_GRACE_SECONDS = 5.0
_ANSWER_TIMEOUT_SECONDS = 60.0
_DEAD_WORKERS_SHOWN = timedelta(hours=1)
_MOST_NAMED = 10


class Reaper:
    """Takes leases away from workers that died. Several may run: each row is locked by one of them.

    Workers that died an hour ago leave the table of workers; until then it tells who died.

    Args:
        database: Where the jobs are, or its URL.
        registry: Handlers, for their dead-letter hooks; or several registries, the first of which that knows a type
            has its hook.
        config: Settings.
        observers: Who is told of the dead letters; stays the caller's to stop.
    """

    def __init__(
        self,
        database: Database | str,
        registry: JobRegistry | Sequence[JobRegistry],
        config: JobsConfig,
        *,
        observers: ObserverFeed | None = None,
    ) -> None:
        registries = registry if isinstance(registry, Sequence) else [registry]
        for one in registries:
            check_registry(one)
        check_config(config)
        config.validate()
        self._observers = observers or ObserverFeed()
        self._config = config
        self._connection = database_of(database).own_connection(answer_timeout_seconds=_ANSWER_TIMEOUT_SECONDS)
        self._hooks = DeadLetterHooks(registries)
        self._backoff = Backoff()
        self._wait = WakeableWait()
        self._is_stopping = False
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
        taken: list[LeaseIdentity] = []
        try:
            await self._reap(taken, now)
        finally:
            # Also when the pass fails in the middle: what was taken away before is committed.
            if taken:
                _log_expired(taken)
        return len(taken)

    async def until_ended(self) -> None:
        """Wait until the reaper ends, and raise what ended it if that was not a stop."""
        if self._loop is not None:
            await asyncio.wait([self._loop])
            if not self._loop.cancelled():
                self._loop.result()

    async def remove_dead_workers(self, *, now: datetime | None = None) -> list[str]:
        """Forget the workers that died an hour ago or longer, and return their ids.

        Args:
            now: Instant to use instead of the database's clock, for tests.
        """
        return await self._connection.run(workers.remove_dead_workers(dead_for=_DEAD_WORKERS_SHOWN, now=now))

    async def finish_hooks(self) -> None:
        """Wait until no hook is left."""
        await self._hooks.finish()

    async def _reap_until_stopped(self) -> None:
        backoff = self._backoff
        while not self._is_stopping:
            seconds = self._config.reaper_interval.total_seconds()
            try:
                await self.run_once()
                await self.remove_dead_workers()
            except RunledgerError as error:
                if backoff.is_first:
                    _logger.warning("reaper.pass_failed", extra={"code": error.code})
                seconds = min(seconds, backoff.failed())
            except Exception:
                _logger.exception("reaper.pass_crashed")
                seconds = min(seconds, backoff.failed())
            else:
                if not backoff.is_first:
                    _logger.info("reaper.pass_recovered")
                backoff.succeeded()
            await self._wait.wait(seconds)

    async def _reap(self, taken: list[LeaseIdentity], now: datetime | None) -> None:
        while True:
            notices = Notices(is_sent_inside=False)
            result = await self._connection.run(
                jobs.reap_expired_leases(
                    limit=self._config.reaper_batch_size,
                    retry_delay=self._config.reaper_retry_delay,
                    notices=notices,
                    now=now,
                )
            )
            taken += result.leases
            for job_id in result.deferred_job_ids:
                _logger.error("reaper.job_deferred", extra={"job_id": str(job_id)})
            for job_id in result.stuck_job_ids:
                _logger.error("reaper.job_stuck", extra={"job_id": str(job_id)})
            if result.dead_letters:
                job_ids = [str(dead_letter.job_id) for dead_letter in result.dead_letters]
                facts = {"job_count": len(job_ids), "job_ids": job_ids[:_MOST_NAMED]}
                _logger.warning("reaper.jobs_dead_lettered", extra=facts)
            for dead_letter in result.dead_letters:
                self._tell(dead_letter)
                self._call_hook(dead_letter)
            with contextlib.suppress(RunledgerError):  # a hint: workers poll, and clients look by themselves
                await self._connection.run(send_notices(notices.payloads, ended_run_ids=notices.ended_run_ids))
            # A full batch of which nothing was taken away would be found again at once: it waits for the next pass.
            if not result.is_full or self._is_stopping or not result.leases:
                return

    def _tell(self, dead_letter: jobs.ReapedDeadLetter) -> None:
        lease = LeaseIdentity(
            job_id=dead_letter.job_id,
            run_number=dead_letter.run_number,
            attempt=dead_letter.attempt,
            worker_id=_WORKER_ID,
        )
        self._observers.tell(
            LifecycleEvent(
                kind=LifecycleEventKind.DEAD_LETTERED,
                lease=lease,
                job_type=dead_letter.job_type,
                organization_id=dead_letter.organization_id,
                code="job.lease_expired",
            )
        )

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
            workflow_run_id=dead_letter.workflow_run_id,
            workflow_step_key=dead_letter.workflow_step_key,
        )
        failure = JobFailure.lease_expired("job.lease_expired", "the lease expired before the job was completed")
        info = JobDeadLetterInfo(failure=failure, reason=JobDeadLetterReason.LEASE_EXPIRED)
        self._hooks.call_soon(context, payload, info)


def _log_expired(taken: Sequence[LeaseIdentity]) -> None:
    """Name some jobs and workers: enough to look at, however many there are."""
    workers_of_jobs = dict.fromkeys(lease.worker_id for lease in taken)
    _logger.warning(
        "reaper.leases_expired",
        extra={
            "job_count": len(taken),
            "job_ids": [str(lease.job_id) for lease in taken[:_MOST_NAMED]],
            "worker_count": len(workers_of_jobs),
            "worker_ids": list(workers_of_jobs)[:_MOST_NAMED],
        },
    )
