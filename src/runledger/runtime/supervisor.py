"""The supervisor: owns the loops of a process and ends them in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from runledger.core.errors import ConfigError, InvalidArgumentError
from runledger.postgres import Database
from runledger.runtime.argument_checks import check_config, database_of
from runledger.runtime.config import JobsConfig
from runledger.runtime.handler_pools import HandlerPool
from runledger.runtime.lifecycle import LifecycleObserver
from runledger.runtime.observer_feed import ObserverFeed
from runledger.runtime.reaper import Reaper
from runledger.runtime.registry import JobRegistry
from runledger.runtime.scheduler import Scheduler
from runledger.runtime.service import Service
from runledger.runtime.settlement import SettlementReport, WorkerSettlement
from runledger.runtime.stop_signals import calling_at_signals
from runledger.runtime.worker import Worker

_logger = logging.getLogger("runledger.supervisor")

_PULSE_SECONDS = 1.0
_STILL_SECONDS = 60.0


class Supervisor:
    """Runs workers, a scheduler and a reaper until it is told to stop.

    A worker inserts the definitions of registered types that the database does not have yet. With a
    :class:`JobCatalog` in place of the registry it syncs that, unless the catalog says otherwise.

    ::

        await Supervisor("postgresql:///app", registry).run_until_shutdown()

    Args:
        database: Where the jobs are: a :class:`~runledger.postgres.Database` or its URL.
        registry: Handlers of the worker, and of the reaper for their dead-letter hooks.
        config: Settings; from the ``JOBS_*`` environment variables when not given.
        pool: For the transactions of handlers, see :class:`Worker`.
        runs_worker: Whether there is a worker for ``registry``; :meth:`add_worker` adds others.
        runs_scheduler: Whether there is a scheduler. Where schedules are to fire, at least one process has one.
        runs_reaper: Whether there is a reaper. At least one process should have one.
        observers: Who is told what happens to the jobs of all its parts.

    Raises:
        ConfigError: The settings cannot work.
        InvalidArgumentError: Database, registry or an observer is something else.
    """

    def __init__(
        self,
        database: Database | str,
        registry: JobRegistry,
        config: JobsConfig | None = None,
        *,
        pool: HandlerPool | None = None,
        runs_worker: bool = True,
        runs_scheduler: bool = True,
        runs_reaper: bool = True,
        observers: Sequence[LifecycleObserver] = (),
    ) -> None:
        self._database = database_of(database)
        self._config = JobsConfig.from_env() if config is None else config
        check_config(self._config)
        self._config.validate()
        self._observers = ObserverFeed(observers)
        self._registries = [registry]
        self._workers: list[Worker] = []
        if runs_worker:
            self._workers.append(self._make_worker(registry, self._config, pool))
        self._scheduler = Scheduler(self._database, self._config) if runs_scheduler else None
        # It looks into the list when it calls a hook, so it knows those of workers that are added later as well.
        self._reaper = (
            Reaper(self._database, self._registries, self._config, observers=self._observers) if runs_reaper else None
        )
        self._shutdown = asyncio.Event()
        self._shutdown_now = asyncio.Event()
        self._was_started = False
        self._is_stopping = False
        self._is_stopped = False
        self._turned_at = time.monotonic()
        self._pulse: asyncio.Task[None] | None = None
        self._stop: asyncio.Task[SettlementReport] | None = None
        self._errors: list[BaseException] = []

    @property
    def is_live(self) -> bool:
        """Whether all parts run and the event loop turns; from the start until everything has stopped.

        A loop that a handler blocks counts as still after the worker's lease time, without workers after a minute. May
        be read in any thread: a probe that the blocked loop itself should answer gets no answer.
        """
        if self._pulse is None or self._is_stopped or time.monotonic() - self._turned_at >= self._still_seconds():
            return False
        if self._is_stopping:
            return True  # parts that are idle end before those whose handlers go on
        return all(part.is_live for part in self._parts)

    @property
    def is_ready(self) -> bool:
        """Whether all parts take work: live, not stopping, reaching the database, some slot not abandoned.

        May be read in any thread.
        """
        return self.is_live and not self._shutdown.is_set() and all(part.is_ready for part in self._parts)

    def add_worker(self, registry: JobRegistry, config: JobsConfig, *, pool: HandlerPool | None = None) -> None:
        """Run one more worker, with types, slots and settings of its own. Call this before the start.

        Args:
            registry: Its handlers.
            config: Its settings; the worker id must be another one than those of the others.
            pool: For the transactions of its handlers.

        Raises:
            ConfigError: ``config.worker_id_taken``: another worker of this supervisor has the id.
            InvalidArgumentError: The supervisor was started before.
        """
        if self._was_started:
            raise InvalidArgumentError("supervisor", "was started before", "add all workers before the start")
        if any(worker.worker_id == config.worker_id for worker in self._workers):
            raise ConfigError(
                "worker_id is that of another worker of this supervisor; give each one an id of its own, or leave it "
                "out of the JobsConfig",
                code="config.worker_id_taken",
            )
        self._workers.append(self._make_worker(registry, config, pool))
        self._registries.append(registry)

    async def start(self) -> None:
        """Start all parts.

        Raises:
            ConfigError: ``config.worker_id_taken``: a live worker, of this process or another one, has the id of one.
            DatabaseConnectionError: PostgreSQL cannot be reached.
            InvalidArgumentError: There is no part to start, or it was started before.
            SchemaCompatibilityError: The tables are missing or older than this version.
            QueryError: The role may not use them.
        """
        if self._was_started:
            raise InvalidArgumentError("supervisor", "was started before", "make another one")
        if not self._parts:
            raise InvalidArgumentError("supervisor", "has no part", "leave runs_reaper=True, or add a worker")
        self._was_started = True
        started: list[Service] = []
        try:
            for part in self._parts:
                if self._is_stopping:
                    break
                started.append(part)
                await part.start()
        except BaseException:
            for part in started:
                await (part.stop(handler_timeout=timedelta()) if isinstance(part, Worker) else part.stop())
            await self._observers.stop()
            self._is_stopped = True
            raise
        if self._is_stopping:  # meanwhile
            return
        self._turned_at = time.monotonic()
        self._pulse = asyncio.create_task(self._feel_pulse())
        for worker in self._workers:
            _logger.info("supervisor.started", extra={"worker_id": worker.worker_id, "job_types": worker.job_types})
        if not self._workers:
            _logger.info("supervisor.started", extra={"worker_id": None, "job_types": []})

    def request_shutdown(self) -> None:
        """Ask for a stop. A second call asks not to wait for running handlers."""
        if self._shutdown.is_set() and not self._shutdown_now.is_set():
            self._shutdown_now.set()
            _logger.warning("supervisor.stopping_now", extra={"job_count": self._running_count()})
        self._shutdown.set()

    async def run_until_shutdown(self, *, shutdown_timeout: timedelta | None = None) -> SettlementReport:
        """Start, run until SIGTERM, SIGINT or :meth:`request_shutdown`, stop gracefully, and say how that went.

        No new job is claimed then; running handlers may go on for ``shutdown_timeout``. A second signal cancels them
        at once. A signal stops every supervisor of the event loop. A part that ends by itself, which only a defect or a
        worker id that was taken over can do, ends the others in the same way; it stands in ``errors`` of the report.

        Args:
            shutdown_timeout: ``config.shutdown_timeout`` of each worker when not given.

        Raises:
            RunledgerError: It could not be started, see :meth:`start`.
        """
        with calling_at_signals(self.request_shutdown):
            try:
                await self.start()
                await self._until_shutdown()
            finally:
                report = await self.stop(handler_timeout=shutdown_timeout)
        return report

    async def stop(self, *, handler_timeout: timedelta | None = None) -> SettlementReport:
        """Stop all parts, see :meth:`Worker.stop`, and say what became of the running jobs.

        There is one stop: whoever asks for another one gets the report of the first, which goes on although its caller
        is canceled.
        """
        if self._stop is None:
            self._stop = asyncio.create_task(self._stop_all(handler_timeout))
        return await asyncio.shield(self._stop)

    async def _stop_all(self, handler_timeout: timedelta | None) -> SettlementReport:
        if self._is_stopped:  # by a start that failed
            return SettlementReport(errors=tuple(self._errors))
        _logger.info("supervisor.stopping", extra={"job_count": self._running_count()})
        self._shutdown.set()
        self._is_stopping = True
        # What is due or expires from now on is another process's, or waits.
        other_stops = [asyncio.create_task(self._stop_quietly(part)) for part in (self._scheduler, self._reaper)]
        stops = [asyncio.create_task(worker.stop(handler_timeout=handler_timeout)) for worker in self._workers]
        impatience = asyncio.create_task(self._shutdown_now.wait())
        settlements: list[WorkerSettlement] = []
        try:
            stopping = asyncio.gather(*stops, return_exceptions=True)
            await asyncio.wait([stopping, impatience], return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await asyncio.gather(*(worker.cancel_running() for worker in self._workers))
            for worker, outcome in zip(self._workers, await stopping, strict=True):
                if isinstance(outcome, WorkerSettlement):
                    settlements.append(outcome)
                else:
                    self._note(worker, outcome)
        finally:
            impatience.cancel()
            await asyncio.wait(other_stops)
            await self._stop_rest()
        report = SettlementReport(workers=tuple(settlements), errors=tuple(self._errors))
        _logger.info(
            "supervisor.stopped",
            extra={
                "finished": report.finished,
                "returned": report.returned,
                "abandoned": report.abandoned,
                "error_count": len(report.errors),
            },
        )
        return report

    async def _stop_quietly(self, part: Scheduler | Reaper | None) -> None:
        if part is None:
            return
        try:
            await part.stop()
        except Exception as error:  # noqa: BLE001 (noted; the rest has to stop too)
            self._note(part, error)

    async def _stop_rest(self) -> None:
        await self._observers.stop()
        if self._pulse is not None:
            self._pulse.cancel()
        self._is_stopped = True

    async def _until_shutdown(self) -> None:
        """Wait until somebody asks for a stop, or a part ends by itself."""
        ends: dict[asyncio.Task[Any], Service] = {asyncio.create_task(part.until_ended()): part for part in self._parts}
        asked: asyncio.Task[Any] = asyncio.create_task(self._shutdown.wait())
        try:
            ended, _ = await asyncio.wait([asked, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in ended - {asked}:
                error = task.exception()
                if error is not None:
                    self._note(ends[task], error)
        finally:
            for task in (asked, *ends):
                task.cancel()

    @property
    def _parts(self) -> list[Service]:
        return [*self._workers, *(part for part in (self._scheduler, self._reaper) if part is not None)]

    def _note(self, part: Service, error: BaseException) -> None:
        """Note that a part failed."""
        self._errors.append(error)
        worker_id = part.worker_id if isinstance(part, Worker) else None
        facts = {"part": type(part).__name__.lower(), "worker_id": worker_id}
        _logger.error("supervisor.part_failed", extra=facts, exc_info=error)

    async def _feel_pulse(self) -> None:
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(_PULSE_SECONDS)

    def _still_seconds(self) -> float:
        return max((worker.lease_seconds for worker in self._workers), default=_STILL_SECONDS)

    def _running_count(self) -> int:
        return sum(worker.running_count for worker in self._workers)

    def _make_worker(self, registry: JobRegistry, config: JobsConfig, pool: HandlerPool | None) -> Worker:
        return Worker(self._database, registry, config, pool=pool, observers=self._observers)
