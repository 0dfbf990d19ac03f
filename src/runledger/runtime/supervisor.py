"""The supervisor: owns the loops of a process and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Generator
from datetime import timedelta

from runledger.postgres import Database
from runledger.runtime.config import JobsConfig
from runledger.runtime.handler_pools import HandlerPool
from runledger.runtime.reaper import Reaper
from runledger.runtime.registry import JobRegistry
from runledger.runtime.worker import Worker

_logger = logging.getLogger("runledger.supervisor")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Runs a worker and a reaper until it is told to stop.

    The worker inserts the definitions of registered types that the database does not have yet.

    ::

        await Supervisor("postgresql:///app", registry).run_until_shutdown()

    Args:
        database: Where the jobs are: a :class:`~runledger.postgres.Database` or its URL.
        registry: Handlers.
        config: Settings; from the ``JOBS_*`` environment variables when not given.
        pool: For the transactions of handlers, see :class:`Worker`.
    """

    def __init__(
        self,
        database: Database | str,
        registry: JobRegistry,
        config: JobsConfig | None = None,
        *,
        pool: HandlerPool | None = None,
    ) -> None:
        self._database = database if isinstance(database, Database) else Database(database)
        self._registry = registry
        self._config = JobsConfig.from_env() if config is None else config
        self._config.validate()
        self._worker = Worker(self._database, registry, self._config, pool=pool)
        self._reaper = Reaper(self._database, registry, self._config)
        self._shutdown = asyncio.Event()
        self._shutdown_now = asyncio.Event()

    async def start(self) -> None:
        """Start worker and reaper.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached.
            SchemaCompatibilityError: The tables are missing or older than this version.
            QueryError: The role may not use them.
        """
        await self._worker.start()
        try:
            await self._reaper.start()
        except BaseException:
            await self._worker.stop(handler_timeout=timedelta())
            raise
        _logger.info(
            "supervisor.started",
            extra={"worker_id": self._config.worker_id, "job_types": self._registry.registered_types()},
        )

    def request_shutdown(self) -> None:
        """Ask for a stop. A second call asks not to wait for running handlers."""
        if self._shutdown.is_set():
            self._shutdown_now.set()
        self._shutdown.set()

    async def run_until_shutdown(self, *, shutdown_timeout: timedelta | None = None) -> None:
        """Start, run until SIGTERM, SIGINT or :meth:`request_shutdown`, and stop gracefully.

        No new job is claimed then; running handlers may go on for ``shutdown_timeout``. A second signal cancels them
        at once.

        Args:
            shutdown_timeout: ``config.shutdown_timeout`` when not given.
        """
        with self._handling_signals():
            try:
                await self.start()
                await self._shutdown.wait()
            finally:
                await self.stop(handler_timeout=shutdown_timeout)

    async def stop(self, *, handler_timeout: timedelta | None = None) -> None:
        """Stop worker and reaper, see :meth:`Worker.stop`."""
        _logger.info("supervisor.stopping")
        stopping = asyncio.create_task(self._worker.stop(handler_timeout=handler_timeout))
        impatience = asyncio.create_task(self._shutdown_now.wait())
        try:
            await asyncio.wait([stopping, impatience], return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await self._worker.cancel_running()
            await stopping
        finally:
            impatience.cancel()
            await self._reaper.stop()
        _logger.info("supervisor.stopped")

    @contextlib.contextmanager
    def _handling_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        handled: list[signal.Signals] = []
        for number in _SIGNALS:
            # Outside the main thread signals belong to the host; it calls request_shutdown.
            with contextlib.suppress(RuntimeError, ValueError):
                loop.add_signal_handler(number, self.request_shutdown)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
